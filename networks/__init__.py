"""Networks in plain torch: no Lightning, no W&B. Each file can be copied and read by itself."""

from networks.registry import register

__all__ = ["register"]
