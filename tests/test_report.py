"""The report: its runs, its figures, and the page as one file."""

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from scripts import report
from scripts.plotting import data_uri, panels, svg
from scripts.report import FIGURES, GANS
from scripts.reporting import gan, memory, page
from scripts.reporting.page import Figure, Picture, Table
from scripts.reporting.runs import DEMO, REPORT, Scale, TrainedRun, grid_steps
from scripts.train_runs import Job
from twofold.run_folder import RunFolder
from twofold.tables import write_rows


def make_run(
    folder: Path, job: Job, metrics: Sequence[Mapping[str, float]], step: int = 20, **facts: str
) -> TrainedRun:
    """A finished run that trained nothing."""
    run = RunFolder(folder / job.name)
    run.path.mkdir()
    run.note(id=job.name, state="finished", step=step, **facts)
    run.keep_config(yaml.safe_dump({"seed_everything": 3, "data": {"init_args": {"length": 6}}}))
    write_rows(run.path / "metrics.csv", list(dict.fromkeys(name for row in metrics for name in row)), metrics)
    return TrainedRun(job, run)


@pytest.mark.parametrize("scale", [DEMO, REPORT], ids=["demo", "report"])
def test_the_figures_need_exactly_the_jobs(scale: Scale) -> None:
    needed = {name for plan in FIGURES.values() for name in plan.jobs}
    assert needed == {job.name for job in scale.jobs("packaged")}


def test_only_gans_get_the_root_of_mnist() -> None:
    assert {job.name for job in REPORT.jobs("torchvision", "elsewhere") if job.local} == {*GANS}


def test_grids_are_drawn_at_the_start_halfway_and_at_the_end() -> None:
    assert grid_steps(18_760) == [0, 500, 1000, 8880, 9380, 9880, 18_760]
    assert grid_steps(60) == [0, 30, 60]


# The memory lesson.


def memory_run(folder: Path, name: str) -> TrainedRun:
    rows = [
        {"step": 9, "train/loss": 2.0, "train/accuracy": 0.25, "train/length": 6},
        {"step": 9, "val/loss": 1.5, "val/accuracy": 0.5},
        {"step": 19, "val/loss": 0.125, "val/accuracy": 0.75},
    ]
    return make_run(folder, Job(name, f"palindrome_{name}", title=f"<{name}>"), rows)


def test_curves_come_with_a_table_of_the_last_validation(tmp_path: Path) -> None:
    run = memory_run(tmp_path, "lstm")
    figure = memory.curves([run], length=5)
    assert run.points("train/loss") == ([10], [2.0])
    assert figure.tables[0].rows == [["<lstm>", "75.0 %", "0.1250"]]
    assert b"</svg>" in figure.pictures[0].content


def test_gates_and_recall_are_drawn_from_checkpoints(tmp_path: Path, save_checkpoint: Callable[..., None]) -> None:
    recall = PalindromeLSTM(4, target="second_half")
    torch.nn.init.zeros_(recall.readout.weight)
    recall.readout.bias.data = torch.eye(10)[0]  # answers 0
    data = PalindromeDataModule(6, target="second_half")
    data.load_state_dict({"seed": 3})
    answers = torch.cat([target for _, target in data.val_dataloader()])
    accuracy = (answers == 0).float().mean(dim=0)  # (3,)
    runs = [memory_run(tmp_path, name) for name in ("lstm", "rnn", "recall")]
    for run, model in zip(runs, [PalindromeLSTM(6), PalindromeRNN(5), recall], strict=True):
        save_checkpoint(model, run.path / "checkpoints" / "best.ckpt")
    (gates,) = memory.gates(runs[:2], length=7).pictures
    assert gates.content.startswith(b"\x89PNG")
    torch.testing.assert_close(memory.accuracy_by_position(recall, 6, seed=3), accuracy)
    assert f"write {accuracy.mean():.1%} of the second half correctly" in memory.recall(runs[2]).notes[0]


# The GAN lesson.


@pytest.fixture
def gans(tmp_path: Path) -> list[TrainedRun]:
    quality = {"fid": 90.0, "fid_real": 3.0, "fid_samples": 200, "modes_covered": 7}
    rows = [
        {"step": 1, "train/d_loss": 0.5, "train/g_loss": 0.75},
        {"step": 3, **{f"quality/{name}": value for name, value in quality.items()}},
    ]
    runs = []
    for name in GANS:
        run = make_run(tmp_path, Job(name, name, title=f"the {name}"), rows, step=4, data_source="packaged")
        for step in grid_steps(4):
            path = run.path / "images" / f"step_{step:06d}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes([step]))
        numbers: dict[str, float | None] = {key: 0.5 for *keys, _ in gan.COLUMNS.values() for key in keys}
        numbers |= {f"class_{digit}{of}": 0.1 for digit in range(10) for of in ("", "_real")}
        numbers |= {"fid": 12.34, "fid_samples": 200, "recall": None, "recall_real": 0.75, "class_3": 0.02}
        evaluations = {"raw": numbers, "remark": "It has seen them.", **({"ema": numbers} if name == "gan" else {})}
        (run.path / "quality.json").write_text(json.dumps(evaluations))
        Image.new("L", (4, 4)).save(run.path / "interpolation.png")
        runs.append(run)
    return runs


def test_grids_stand_side_by_side(gans: list[TrainedRun]) -> None:
    figure = gan.grids(gans)
    assert [picture.content for picture in figure.pictures] == [b"\0", b"\0", b"\2", b"\2", b"\4", b"\4"]
    assert figure.pictures[3].alt == "64 images: the gan, 2 batches"
    assert figure.per_row == 2


def test_learning_and_quality_name_their_samples_and_reference(gans: list[TrainedRun]) -> None:
    assert gan.learning(gans).notes[0].endswith("200 samples against all training images of the packaged digits.")
    figure = gan.quality(gans)
    assert [row[0] for row in figure.tables[0].rows] == ["the textbook", "the gan", "the gan, moving average", "real"]
    generated, *_, real = figure.tables[0].rows
    assert (generated[1], generated[4], generated[-1]) == ("12.3", "–", "2% to 10%")
    assert (real[1], real[4], real[-1]) == ("0.5", "0.75", "10% to 10%")
    assert figure.tables[0].title == "200 samples against the held-out images of the packaged digits"
    assert figure.notes == ["It has seen them."]


def test_long_loss_curves_are_averaged() -> None:
    batches, values = gan.averaged(range(1, 601), [0.0, 1.0] * 300)
    assert (batches[:2], len(batches), set(values)) == ([1.5, 3.5], 300, {0.5})


@pytest.mark.parametrize("makes_digits", [True, False])
def test_morphs_show_a_strip_and_an_animation(
    makes_digits: bool, gans: list[TrainedRun], digit_painter: MLPGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.interpolation.CANDIDATES", 1024)
    network = digit_painter if makes_digits else MLPGenerator(latent_dim=4)
    save_generator(network, gans[1].path / "mnist_generator.pth", weights="raw", step=4, data_source="packaged")
    strip, animation = gan.morphs(gans[1]).pictures
    assert strip.content == (gans[1].path / "interpolation.png").read_bytes()
    with Image.open(io.BytesIO(animation.content)) as picture:
        assert picture.format == "GIF"
        assert getattr(picture, "n_frames", 1) > 4


# The page.


def test_the_page_is_one_self_contained_file(tmp_path: Path) -> None:
    run = memory_run(tmp_path, "lstm")
    figures = {name: Figure([Picture(f"{name}.png", b"x", "a picture")], origin="runs a, b") for name in FIGURES}
    figures["gates"] = Figure(tables=[Table(["who", "value"], [["<b>", "3"]], "a table")], notes=["A note."])
    path = tmp_path / "index.html"
    page.write(path, figures, scale=DEMO, runs=[run])
    text = path.read_text()
    pictures = re.findall(r'<img src="([^"]*)" alt="[^"]', text)
    assert len(pictures) == text.count("<img") > 5
    assert all(uri.startswith("data:image/") for uri in pictures)
    assert not re.search(r"url\(|@import|srcset|<link|<script|<iframe", text)
    assert "&lt;b&gt;" in text
    assert "A note." in text
    for name in FIGURES:
        assert f"<code>python -m scripts.demo --only {name}</code>" in text
    assert "runs a, b · <code>" in text
    assert run.job.command in text


def test_figures_fit_light_and_dark_pages() -> None:
    figure, (axis,) = panels(1)
    axis.plot([1, 2], [3, 4])
    drawn = svg(figure).decode()
    assert "#000000" not in drawn
    assert "prefers-color-scheme: dark" in drawn
    assert data_uri("a.svg", b"abc") == "data:image/svg+xml;base64,YWJj"


def test_one_figure_is_written_as_a_file(script: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    assert script(report.main, "--only", "horizon")[:2] == (0, "report/figures/memory_horizon.png\n")
    assert [path.name for path in tmp_path.rglob("report/**/*.*")] == ["memory_horizon.png"]


def test_mistakes_get_one_line(refuses: Callable[..., None], no_download: None) -> None:
    refuses(report.main, [("--root nowhere", "MNIST")])
