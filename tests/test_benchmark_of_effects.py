"""What each part of a GAN recipe changes: the arms, the choice of learning rates, the effects."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import gan_effects
from benchmarks.gan_effects import BASE, BASES, PARTS, effects, largest_pair, main, settings_of
from benchmarks.results import Results
from datamodules import MNISTDataModule
from scripts.train_runs import Job
from twofold.provenance import CONFIGS
from twofold.tables import read_rows

Twofold = Callable[..., tuple[int, str, str]]

CHANGES_NETWORKS = ("standardised input of D", "transposed-convolution head of G", "pixel-unshuffle CNN as D")
ARMS = [
    pytest.param(base, part, marks=() if part in CHANGES_NETWORKS and base == "gan" else pytest.mark.slow)
    for base in BASES
    for part in PARTS
]


@pytest.mark.parametrize(("base", "part"), ARMS)
def test_an_arm_trains_and_differs_from_its_base(base: str, part: str, twofold: Twofold) -> None:
    short = ("--data.source=packaged", "--trainer.max_steps=2", "--trainer.callbacks=[]", "--trainer.logger=false")
    code, _, err = twofold("fit", "-c", base, *settings_of(base, (part,), BASES[base]), *short)
    assert code == 0, err
    (path,) = Path("runs").glob("*/*/config.yaml")
    trained = yaml.safe_load(path.read_text())["model"]["init_args"]
    shipped = yaml.safe_load((CONFIGS / f"{base}.yaml").read_text())["model"]["init_args"]
    rate, own_rate = (arguments["generator_optimizer"]["init_args"]["lr"] for arguments in (trained, shipped))
    assert rate / own_rate == pytest.approx(BASES[base], rel=1e-3)
    for name, value in PARTS[part][list(BASES).index(base)].items():
        found = reduce(getitem, name.split("."), trained)
        if isinstance(value, dict):
            assert found["class_path"] == value["class_path"]
            assert value["init_args"].items() <= found["init_args"].items()
        else:
            assert found == value
            assert reduce(lambda node, key: node.get(key, {}), name.split("."), shipped) != value


FIDS = {BASE: 8.0, "R1": 4.0, "R2": 16.0, "averaging": 9.0}
"""At the better rate, by part, for the first base recipe."""


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The columns of the runs that a benchmark trains. The second rate of R1 is better, all others' is worse."""
    speeds = Results(tmp_path / "gan_effects_speed.csv", "base", "parts")
    for base in BASES:
        for parts in (*FIDS, "R1 + R2"):
            speeds.add({"base": base, "parts": parts, "ms_per_batch": 20, "ms_per_batch_of_gan": 25}, quiet=True)
    seen: list[dict[str, Any]] = []

    def train_and_evaluate(
        jobs: Mapping[Job, dict[str, Any]], data: MNISTDataModule, results: Results, reference: str, draws: int
    ) -> None:
        assert (reference, draws) == ("validation", 4)
        for columns in jobs.values():
            if results.has(**columns):
                continue
            seen.append(columns)
            worse = (columns["lr_factor"] == "1") == (columns["parts"] == "R1")
            fid = FIDS.get(columns["parts"], 2.0) * (1 + worse) * 2 ** (columns["seed"] / 10)
            for name, factor in (("digit_cnn", 1), ("digit_reader", 0.1)):
                results.add({**columns, "classifier": name, "fid": fid * factor}, quiet=True)

    monkeypatch.setattr(gan_effects, "train_and_evaluate", train_and_evaluate)
    return seen


def run(out: Path, *arguments: str, parts: Sequence[str] = ("R1", "R2", "averaging")) -> int:
    return main(["--out", str(out), "--source", "packaged", "--batches", "100", *arguments, "--parts", *parts])


def test_the_better_rate_of_the_first_seed_trains_the_others(trained: list[dict[str, Any]], tmp_path: Path) -> None:
    assert run(tmp_path, "arms") == 0
    runs = {
        parts: [(row["seed"], row["lr_factor"]) for row in trained if (row["base"], row["parts"]) == ("gan", parts)]
        for parts in (BASE, "R1")
    }
    assert runs[BASE] == [(1, "1"), (1, "0.3333"), (2, "1"), (3, "1")]
    assert runs["R1"] == [(1, "1"), (1, "0.3333"), (2, "0.3333"), (3, "0.3333")]
    assert {row["batches"] for row in trained} == {125}  # a fifth less time per batch
    number = len(trained)
    assert run(tmp_path, "arms") == 0
    assert len(trained) == number
    assert (tmp_path / "gan_effects.png").exists()


def test_effects_are_logarithms_of_quotients_at_the_same_seed(trained: list[dict[str, Any]], tmp_path: Path) -> None:
    run(tmp_path, "arms")
    rows = read_rows(tmp_path / "gan_effects.csv")
    for part, fid in FIDS.items():
        for classifier in ("digit_cnn", "digit_reader"):
            expected = pytest.approx([math.log2(fid / 8)] * 3, abs=1e-3)
            assert effects(rows, "gan_template", part, classifier) == expected


def test_named_parts_are_changed_together(trained: list[dict[str, Any]], tmp_path: Path) -> None:
    run(tmp_path, "arms")
    before = len(trained)
    assert run(tmp_path, "crossed", parts=("R2", "R1")) == 0
    assert {(row["base"], row["parts"]) for row in trained[before:]} == {(base, "R1 + R2") for base in BASES}


def test_the_largest_effects_are_crossed_but_not_two_values_of_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    fids = {BASE: 8, "β₁ = 0.5": 1, "β₁ = 0 instead of 0.9": 2, "R1": 4, "R2": 6}
    rows = [
        {
            "base": base,
            "parts": part,
            "lr_factor": f"{rate:.4g}",
            "seed": "1",
            "classifier": "digit_cnn",
            "fid": str(fid),
        }
        for base, other in BASES.items()
        for rate in (1.0, other)
        for part, fid in fids.items()
    ]
    monkeypatch.setattr(gan_effects, "PARTS", {part: PARTS[part] for part in fids if part != BASE})
    assert largest_pair(rows) == ("β₁ = 0.5", "R1")


def test_rows_of_another_length_are_refused(trained: list[dict[str, Any]], tmp_path: Path) -> None:
    run(tmp_path, "arms")
    assert main(["arms", "--out", str(tmp_path), "--source", "packaged", "--batches", "50", "--parts", "R1"]) == 2
