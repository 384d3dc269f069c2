"""A job is one training run to be made: a config of `configs/` and what is changed in it."""

from dataclasses import dataclass
from typing import Any

import yaml

from twofold.provenance import CONFIGS


@dataclass(frozen=True)
class Job:
    """One training run: a config of `configs/` and what to change in it.

    Attributes:
        name: of its folder, beside those of other jobs.
        title: by which figures tell it from others.
        batches: which it trains, at most.
        reads_digits: from a folder, `data.root`, or as they come with a package.
    """

    name: str
    title: str
    config: str
    batches: int
    overrides: tuple[str, ...] = ()
    reads_digits: bool = False

    @property
    def arguments(self) -> list[str]:
        """What stands behind `twofold`."""
        return ["fit", "-c", str(CONFIGS / f"{self.config}.yaml"), *self._settings]

    @property
    def command(self) -> str:
        """The same as a person types it."""
        quoted = [f"'{word}'" if word.startswith(("[", "{")) else word for word in self._settings]
        return " ".join(("twofold fit -c", f"configs/{self.config}.yaml", *quoted))

    @property
    def _settings(self) -> tuple[str, ...]:
        return ("--trainer.max_steps", str(self.batches), *self.overrides)


def read_shipped(config: str) -> dict[str, Any]:
    """What a config of `configs/` says, by its name without .yaml."""
    content: dict[str, Any] = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())
    return content


def falling(config: str, batches: int) -> tuple[str, ...]:
    """The settings by which a config's rates, if they fall with its batches, do so within these."""
    model = read_shipped(config)["model"]["init_args"]
    schedulers = [f"{network}_lr_scheduler" for network in ("generator", "discriminator")]
    return tuple(
        word
        for scheduler in schedulers
        if scheduler in model
        for word in (f"--model.{scheduler}.init_args.total_iters", str(batches))
    )
