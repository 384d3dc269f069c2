"""Plain torch, to copy and read alone: no Lightning, no W&B."""

from networks.registry import register

__all__ = ["register"]
