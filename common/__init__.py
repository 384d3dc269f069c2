"""Plain torch helpers that everything else builds on: random streams, sharding, files."""
