"""The benchmark of the class-conditional GAN on a small scale."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from benchmarks import gan, gan_classes
from callbacks.interpolation_strip import GENERATOR_FILE
from datamodules import MNISTDataModule
from networks import register
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from scripts.train_runs import Job
from twofold.tables import read_rows


class Copies(nn.Module):
    """Makes test images of the class, but sevens where ones are asked for."""

    latent_dim, classes = 2, 10

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Buffer(torch.zeros(10, 50, 1, 28, 28))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.images[torch.where(labels == 1, 7, labels), z[:, 0].mul(1000).long() % 50]


register("Copies", Copies)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the jobs that were trained, by a stand-in that saves a generator."""
    names: list[str] = []
    data = MNISTDataModule(source="packaged")
    data.setup()
    digits, copies = data.splits, Copies()
    for label in range(10):
        rows = digits.test[digits.labels[digits.test] == label][:50]
        copies.images[label] = digits.images[rows] / 127.5 - 1

    def train(jobs: Sequence[Job], folder: Path) -> dict[str, SimpleNamespace]:
        for job in jobs:
            names.append(job.name)
            network = copies if job.config == "gan_conditional" else MLPGenerator(3, [4])
            path = tmp_path / job.name / GENERATOR_FILE
            save_generator(network, path, weights="raw", step=1, data_source="packaged")
        return {job.name: SimpleNamespace(path=tmp_path / job.name) for job in jobs}

    monkeypatch.setattr(gan, "train", train)
    monkeypatch.setattr(gan_classes, "DRAWS", 2)
    monkeypatch.setattr(gan_classes, "CLASSIFIERS", ["digit_reader"])
    return names


@pytest.mark.slow
def test_classes_are_read_beside_real_ones_and_only_once(trained: list[str], tmp_path: Path) -> None:
    arguments = ["--batches", "7", "--seeds", "1", "--root", str(tmp_path), "--source", "packaged"]
    table = tmp_path / "gan_classes.csv"
    for _ in range(2):
        assert gan_classes.main([*arguments, "--out", str(tmp_path)]) == 0
        rows = read_rows(table)
        assert trained == ["gan_conditional_7_1", "gan_7_1"]
    kinds = [("gan_conditional", "all"), *(("gan_conditional", str(label)) for label in range(10)), ("gan", "all")]
    assert [(row["config"], row["class"]) for row in rows] == kinds
    for row in rows:
        assert float(row["fid"]) > 0
        assert float(row["fid_real"]) > 0
        assert (row["data_source"], row["fid_draws"]) == ("packaged", "2")
        if row["class"] != "all":
            assert float(row["read_as_class_real"]) > 0.9
            assert (float(row["read_as_class"]) > 0.9) == (row["class"] != "1")
            assert 0.7 < float(row["recall_real"]) <= 1
            assert (float(row["recall"]) > 0.7) == (row["class"] != "1")
    table.write_text("".join(line for line in table.read_text().splitlines(True) if ",digit_reader,3," not in line))
    assert gan_classes.main([*arguments, "--out", str(tmp_path)]) == 0
    assert len(read_rows(table)) == len(rows)
    assert trained == ["gan_conditional_7_1", "gan_7_1", "gan_conditional_7_1"]
