"""Benchmarks, and in results/ the tables that they wrote: the numbers of docs/results.md."""
