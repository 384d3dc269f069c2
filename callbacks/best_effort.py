"""What a run can do without: that a picture can't be written is no reason to lose the training."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.rank_zero import rank_zero_warn


class BestEffort:
    """Goes on where something can't be written, because the disk is full, say, and warns about it once.

    Args:
        what: is written, in words that end in "can't be written".
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.warned = False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within, an OSError becomes a warning, and ends the block."""
        try:
            yield
        except OSError as error:
            if not self.warned:
                self.warned = True
                rank_zero_warn(f"{self.what} can't be written ({error.strerror or error}); training goes on without")
