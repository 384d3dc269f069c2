"""Warnings when a GAN's training goes wrong: modes are lost, or the discriminator wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import SupportsFloat

from metrics.mode_coverage import modes_covered

COLLAPSED = 0.8
"""If this fraction of the modes is missing, the first evaluation already warns."""

LOST = 0.05
"""The fraction of an even share of the images below which a mode that was covered once is lost."""

ACCURACIES = ("train/d_accuracy_real", "train/d_accuracy_fake")


@dataclass
class GANMonitor:
    """Finds lost modes and a perfect discriminator in the numbers that a GAN logs.

    - The discriminator is perfect if it classified every logged image correctly for `perfect_for` batches.
    - A mode, one of the classes, is missing if its share of the generated images never reached a fifth of an even share
      (of ten digits 2 %), or did and fell below a twentieth (0.5 %). Modes come and go at first, so they are reported
      after `evaluations` evaluations, or at once if 80 % or more are missing.

    Each warning is given once, and again if the problem had gone away.

    Args:
        perfect_for: batches without an error of the discriminator.
        evaluations: evaluations before missing modes are reported.

    The other fields change during training and are kept in the checkpoint.
    """

    perfect_for: int = 500
    evaluations: int = 3
    perfect_since: int | None = None
    warned_of_perfection: bool = False
    evaluated: int = 0
    covered: set[int] = field(default_factory=set)
    reported: set[int] = field(default_factory=set)

    def check_discriminator(self, step: int, logged: Mapping[str, SupportsFloat]) -> str | None:
        """Returns a warning if the discriminator is perfect; takes the numbers logged for batch `step`."""
        if not all(name in logged for name in ACCURACIES):
            return None
        if any(float(logged[name]) < 1 for name in ACCURACIES):
            self.perfect_since, self.warned_of_perfection = None, False
            return None
        if self.perfect_since is None:
            self.perfect_since = step
        if self.warned_of_perfection or step - self.perfect_since < self.perfect_for:
            return None
        self.warned_of_perfection = True
        return (
            f"discriminator perfect: from batch {self.perfect_since:,} to {step:,} it classified every logged image "
            "correctly, so the generator has little to learn from. A (higher) gradient penalty or a lower learning "
            "rate of the discriminator often helps."
        )

    def check_modes(self, step: int, histogram: Sequence[float], class_names: Sequence[str] = ()) -> str | None:
        """Returns a warning if modes are missing.

        Args:
            step: batches trained.
            histogram: the share of generated images of each class.
            class_names: for the message, by default the classes' numbers.
        """
        covered, kept = modes_covered(histogram), modes_covered(histogram, LOST)
        self.evaluated += 1
        self.covered |= covered
        self.reported -= covered
        missing = {*range(len(histogram))} - covered - (kept & self.covered)
        is_early = self.evaluated <= self.evaluations and len(missing) < COLLAPSED * len(histogram)
        if missing <= self.reported or is_early:
            return None
        self.reported |= missing
        names = ", ".join(class_names[k] if class_names else str(k) for k in sorted(missing))
        return (
            f"modes lost: after batch {step:,} the generator makes hardly any images of {names} "
            f"(an even share is {1 / len(histogram):.0%}). A lost class seldom comes back by itself. A (higher) "
            "gradient penalty, a lower beta1 of Adam or a lower learning rate often helps."
        )
