"""What a target may be beside a class."""

UNASKED = -100
"""The target where nothing is asked; `torch.nn.functional.cross_entropy` ignores it."""
