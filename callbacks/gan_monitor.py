"""When a GAN goes wrong: what it looks like in numbers, and what to say and to try then."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

from metrics.mode_coverage import COVERED

COLLAPSED = 8
"""So many missing digits of ten need no second look."""

GONE = 0.005
"""The share of images below which a digit that was alive is lost; between this and `COVERED` it may still waver."""

FINITE = ("train/d_loss", "train/g_loss", "train/d_gradient_norm", "train/g_gradient_norm")
ACCURACIES = ("train/d_accuracy_real", "train/d_accuracy_fake")


class GANMonitor:
    """Listens to a game of two networks and says what goes wrong: each kind once, and again when it had been well.

    - A loss, or the norm of a gradient, is not a finite number. (`lightning_modules.base` ends a run of this house
      before that; other modules have nobody else to say so.)
    - The discriminator is perfect for long: in no batch that was looked at, it took a real or a fake image for the
      other kind. It had been well when it erred in each for as long.
    - Digits are lost: hardly two are left; or, after some evaluations, one that was generated is gone, or one has
      still to come. It had been well when all were alive in `evaluations` evaluations, one after the other.

    Args:
        perfect_for: batches without an error of the discriminator.
        evaluations: how many pass, since in the beginning digits come and go, before every digit should be alive.

    Raises:
        ValueError: when either is below 1.
    """

    def __init__(self, perfect_for: int = 500, evaluations: int = 3) -> None:
        for name, value in (("perfect_for", perfect_for), ("evaluations", evaluations)):
            if value < 1:
                raise ValueError(f"{name} is {value}; write 1 or more")
        self.perfect_for = perfect_for
        self.evaluations = evaluations
        self.said: set[str] = set()
        self.perfect_since: int | None = None
        self.erring_since: int | None = None
        self.seen = 0
        self.all_alive = 0
        self.were_alive: set[int] = set()

    def hear(self, step: int, numbers: Mapping[str, SupportsFloat]) -> list[str]:
        """Takes what was logged of batch `step`, by its names; what is missing is not missed. Returns warnings."""
        return [*self._not_finite(step, numbers), *self._perfect(step, numbers)]

    def see(self, step: int, shares: Sequence[float]) -> list[str]:
        """Takes the share of images that show each digit after batch `step`. Returns warnings."""
        self.seen += 1
        lost = [digit for digit, share in enumerate(shares) if digit in self.were_alive and share < GONE]
        rare = [digit for digit, share in enumerate(shares) if share < COVERED]
        self.were_alive |= {digit for digit, share in enumerate(shares) if share >= COVERED}
        self.all_alive = 0 if rare else self.all_alive + 1
        if self.all_alive == self.evaluations:
            self.said.discard("digits lost")
        missing = lost or rare
        if not missing or (self.seen <= self.evaluations and len(rare) < COLLAPSED):
            return []
        share = GONE if lost else COVERED
        return self._once(
            "digits lost",
            f"digits lost: after batch {step:,} the generator makes hardly any {_listed(missing)} (each in fewer than "
            f"{share:.1%} of the images, where even shares are 10%). A lost digit seldom comes back by itself; what "
            "often helps is a (higher) gradient penalty, a lower beta1 of Adam, or a lower learning rate.",
        )

    def _not_finite(self, step: int, numbers: Mapping[str, SupportsFloat]) -> list[str]:
        broken = {name: float(numbers[name]) for name in FINITE if name in numbers}
        broken = {name: value for name, value in broken.items() if not math.isfinite(value)}
        if not broken:
            return []
        listed = " and ".join(f"{name} is {value}" for name, value in broken.items())
        return self._once(
            "not finite",
            f"not finite: {listed} at batch {step:,}, and no later batch will mend it. Go back to a checkpoint before "
            "it; try a lower learning rate, or full precision.",
        )

    def _perfect(self, step: int, numbers: Mapping[str, SupportsFloat]) -> list[str]:
        if not all(name in numbers for name in ACCURACIES):
            return []
        if any(float(numbers[name]) < 1 for name in ACCURACIES):
            self.perfect_since = None
            if self.erring_since is None:
                self.erring_since = step
            if step - self.erring_since >= self.perfect_for:
                self.said.discard("perfect")
            return []
        self.erring_since = None
        if self.perfect_since is None:
            self.perfect_since = step
        if step - self.perfect_since < self.perfect_for:
            return []
        return self._once(
            "perfect",
            f"discriminator perfect: from batch {self.perfect_since:,} to {step:,} it mistook no image that was looked "
            "at, so the generator has little to learn from. What often helps is a (higher) gradient penalty, or a "
            "lower learning rate for the discriminator.",
        )

    def _once(self, kind: str, words: str) -> list[str]:
        if kind in self.said:
            return []
        self.said.add(kind)
        return [words]

    def state_dict(self) -> dict[str, Any]:
        return {
            "said": sorted(self.said),
            "perfect_since": self.perfect_since,
            "erring_since": self.erring_since,
            "seen": self.seen,
            "all_alive": self.all_alive,
            "were_alive": sorted(self.were_alive),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.said = set(state_dict["said"])
        self.perfect_since = state_dict["perfect_since"]
        self.erring_since = state_dict["erring_since"]
        self.seen = state_dict["seen"]
        self.all_alive = state_dict["all_alive"]
        self.were_alive = set(state_dict["were_alive"])


def _listed(digits: Sequence[int]) -> str:
    """In words: "3", "3 and 5", "3, 5 and 8"."""
    *most, last = map(str, digits)
    return f"{', '.join(most)} and {last}" if most else last
