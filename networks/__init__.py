"""Networks in plain torch: no Lightning, no W&B."""

from networks.registry import register

__all__ = ["register"]
