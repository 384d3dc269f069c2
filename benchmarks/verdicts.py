"""What both judges say of a trained generator, for benchmarks that compare games."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from datamodules import MNISTDataModule
from networks.judge import JUDGES, load_judge
from networks.quality_report import RealDigits


def verdicts(generator: nn.Module, data: MNISTDataModule) -> list[dict[str, Any]]:
    """For each judge its name and the numbers of its report on a generator in eval mode.

    Each judge looks at the real digits once in a process, which takes as long as the generator's own.
    """
    judges = _judges(data.root, data.source)
    return [{"judge": name, **real.report(generator).numbers()} for name, real in judges.items()]


@lru_cache(maxsize=1)
def _judges(root: Path, source: Any) -> dict[str, RealDigits]:
    data = MNISTDataModule(root, source)
    data.setup()
    return {name: RealDigits(load_judge(name), data.digits) for name in JUDGES}
