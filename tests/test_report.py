"""The report: which runs it asks for, that finished ones stay, what is drawn of them, and the page as one file."""

import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image, ImageSequence

from callbacks.drawing import FRAME_MS, WAYPOINT_MS
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from scripts import demo, interpolate, report, training
from scripts.jobs import Job
from scripts.plotting import address, panels, svg
from scripts.reporting import figures, gan, measured, memory, page
from scripts.reporting.drawn import Drawn, Picture, Table
from scripts.reporting.scale import DEMO, FULL, REPORT, STRIP, jobs
from scripts.trained_jobs import FACTS, FinishedRun, digits_read, finished, train
from scripts.training import Training
from twofold.errors import Stopped, UsageError
from twofold.provenance import CONFIGS
from twofold.run_folder import RunFolder
from twofold.tables import read_rows, write_rows

STAND_IN = Path(__file__).with_name("stand_in_training.py")
JOBS = [Job("quick", "a quick one", "gan", 5, ("--x=1",)), Job("slow", "a slow one", "gan", 8, ("--x=2",))]


class Heard:
    """Keeps what a bar is told."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def trained(self, names: Sequence[str], batches: int) -> None:
        self.batches.append(batches)


def make_run(folder: Path, job: Job, metrics: Sequence[Mapping[str, float]], **facts: object) -> FinishedRun:
    """A finished run that trained nothing."""
    run = RunFolder(folder / job.name / "made_up" / "20260101-000000-abcd")
    run.path.mkdir(parents=True)
    run.note(id=run.path.name, state="finished", step=job.batches, **facts)
    settings = {"seed_everything": 3, "data": {"init_args": {"length": 6}}}
    run.keep_config(yaml.safe_dump(settings))
    columns = list(dict.fromkeys(name for row in metrics for name in row))
    write_rows(run.path / "metrics.csv", columns, metrics)
    return FinishedRun(job, run, ("abc1234",))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Trainings that train nothing; returns the folder of the runs."""
    monkeypatch.setattr(training, "COMMAND", (sys.executable, str(STAND_IN)))
    monkeypatch.setattr(Job, "arguments", property(lambda job: ["fit", "-c", "any.yaml", "--steps=3", *job.overrides]))
    finish_at_the_end = property(lambda run: "finished" if (run.path / "metrics.csv").exists() else "interrupted")
    monkeypatch.setattr(RunFolder, "state", finish_at_the_end)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def starts(runs: Path, job: Job) -> list[str]:
    return (runs / job.name / "starts.txt").read_text().splitlines()


# Which runs there are.


def test_the_default_trains_20_epochs_and_the_full_one_200() -> None:
    assert jobs(REPORT)["textbook_18760"].batches == 18_760 == 20 * 938
    assert FULL.moments(jobs(FULL)["textbook_187600"].batches)[3:] == [93_300, 93_800, 94_300, 187_600]
    assert REPORT.moments(18_760) == [0, 500, 1000, 8880, 9380, 9880, 18_760]


def test_a_full_report_shares_all_runs_but_the_textbooks_with_the_default_one() -> None:
    assert jobs(FULL).keys() ^ jobs(REPORT).keys() == {"textbook_18760", "textbook_187600"}
    assert FULL.runs == REPORT.runs
    assert DEMO.runs != REPORT.runs


def test_runs_lie_where_all_runs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWOFOLD_RUNS", raising=False)
    assert (DEMO.runs, DEMO.folder) == (Path("runs/demo"), Path("runs/demo"))
    assert (REPORT.runs, REPORT.folder) == (Path("runs/report"), Path("report"))
    monkeypatch.setenv("TWOFOLD_RUNS", "elsewhere")
    assert (DEMO.runs, DEMO.folder) == (Path("elsewhere/demo"), Path("elsewhere/demo"))
    assert (FULL.runs, FULL.folder) == (Path("elsewhere/report"), Path("report"))


@pytest.mark.parametrize("scale", [DEMO, REPORT, FULL], ids=["demo", "report", "full"])
def test_figures_are_drawn_from_jobs_that_there_are_and_each_job_is_drawn(scale: object) -> None:
    needed = {name for figure in figures.figures(scale).values() for name in figure.jobs}  # type: ignore[arg-type]
    assert needed == jobs(scale).keys()  # type: ignore[arg-type]


def test_rates_of_gan_yaml_fall_to_0_with_its_last_batch() -> None:
    overrides = jobs(DEMO)["gan_4000"].overrides
    totals = [overrides[n + 1] for n, word in enumerate(overrides) if word.endswith("total_iters")]
    assert totals == ["4000", "4000"]


# Training.


def test_what_is_finished_is_not_trained_again(stand_in: Path) -> None:
    heard = Heard()
    trained = train(JOBS, stand_in, None, heard)
    assert [len(starts(stand_in, job)) for job in JOBS] == [1, 1]
    assert heard.batches[-1] == 13, "a run that ended early counts as whole"
    assert heard.batches == sorted(heard.batches)
    assert trained.keys() == {"quick", "slow"}
    assert len(trained["slow"].metrics) == 3
    train(JOBS, stand_in, None, heard)
    assert [len(starts(stand_in, job)) for job in JOBS] == [1, 1]
    assert heard.batches[-1] == 13


def test_what_was_broken_off_goes_on_in_its_folder(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(JOBS, stand_in, None, Heard())
    (table,) = stand_in.glob("slow/*/*/metrics.csv")
    table.unlink()
    train(JOBS, stand_in, None, Heard())
    assert len(starts(stand_in, JOBS[0])) == 1
    _, second = starts(stand_in, JOBS[1])
    assert second == f"fit -c {table.with_name('config.yaml')} --ckpt_path last"


def test_only_games_are_told_where_the_digits_lie(stand_in: Path) -> None:
    assert {job.config for job in jobs(REPORT).values() if job.reads_digits} == {"gan", "gan_template"}
    train([JOBS[0], replace(JOBS[1], reads_digits=True)], stand_in, "elsewhere", Heard())
    assert "--data.root" not in starts(stand_in, JOBS[0])[0]
    assert starts(stand_in, JOBS[1])[0].endswith(f" --data.root={Path.cwd() / 'elsewhere'}")
    (table,) = stand_in.glob("slow/*/*/metrics.csv")
    table.unlink()
    train([replace(JOBS[1], reads_digits=True)], stand_in, "moved", Heard())
    assert starts(stand_in, JOBS[1])[1].endswith(f" --ckpt_path last --data.root={Path.cwd() / 'moved'}")
    train(JOBS, stand_in, None, Heard())  # of which the folder is no part


def test_a_run_with_other_settings_is_refused(stand_in: Path) -> None:
    train(JOBS, stand_in, None, Heard())
    with pytest.raises(UsageError, match=r"quick was trained by another command; move it away to train it anew"):
        train([replace(JOBS[0], overrides=("--x=7",))], stand_in, None, Heard())
    path = stand_in / "slow" / FACTS
    path.write_text(json.dumps({**json.loads(path.read_text()), "configs": "another"}))
    with pytest.raises(
        UsageError, match=r"slow was trained when base.yaml or gan.yaml in configs/ was another; move it away"
    ):
        train(JOBS, stand_in, None, Heard())
    assert [len(starts(stand_in, job)) for job in JOBS] == [1, 1]


def test_all_commits_at_which_a_run_was_trained_are_known(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter([{"commit": "a" * 40, "clean": True}, {"commit": "b" * 40, "clean": False}, {}])
    monkeypatch.setattr("scripts.trained_jobs.code_version", lambda: next(versions))
    for _ in range(3):
        train(JOBS[:1], stand_in, None, Heard())
        (table,) = stand_in.glob("quick/*/*/metrics.csv")
        table.rename(table.with_name("before.csv"))
    table.with_name("before.csv").rename(table)
    assert finished(JOBS[0], stand_in).commits == ("aaaaaaa", "bbbbbbb+")


@pytest.mark.parametrize(("does", "kind"), [("refuses", UsageError), ("fails", RuntimeError)])
def test_a_failure_ends_the_others(stand_in: Path, does: str, kind: type[Exception]) -> None:
    bad = replace(JOBS[0], overrides=("--x=1", f"--does={does}"))
    long = replace(JOBS[1], overrides=("--x=2", "--steps=1000", "--pause=0.1"))
    with pytest.raises(kind, match="quick: "):
        train([bad, long], stand_in, None, Heard())
    assert Training(stand_in / long.name, long.arguments).batches_trained < 1000


def test_a_second_report_is_refused(stand_in: Path) -> None:
    class Second(Heard):
        def trained(self, names: Sequence[str], batches: int) -> None:
            with pytest.raises(UsageError, match=r"something else trains in .*runs; wait for it or end it first"):
                train(JOBS, stand_in, None, Heard())
            super().trained(names, batches)

    second = Second()
    train(JOBS, stand_in, None, second)
    assert second.batches


def test_a_folder_that_cant_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(UsageError, match=r"can't write to .*runs"):
        train(JOBS, tmp_path / "runs", None, Heard())


def test_a_signal_stops_the_trainings(stand_in: Path) -> None:
    class Interrupted(Heard):
        def trained(self, names: Sequence[str], batches: int) -> None:
            if batches > 1:
                os.kill(os.getpid(), signal.SIGTERM)

    long = replace(JOBS[1], overrides=("--x=2", "--steps=1000", "--pause=0.05"))
    with pytest.raises(Stopped, match="stopped by SIGTERM; the same command goes on"):
        train([long], stand_in, None, Interrupted())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# Drawing.


def test_svg_takes_the_ink_of_the_page() -> None:
    figure, (axis,) = panels(1)
    axis.plot([1, 2], [3, 4])
    drawn = svg(figure).decode()
    ElementTree.fromstring(drawn)
    assert "#000000" not in drawn
    assert "prefers-color-scheme: dark" in drawn
    assert "currentColor" in drawn


def memory_run(folder: Path, job: Job, model: PalindromeLSTM | PalindromeRNN | None = None) -> FinishedRun:
    rows = [
        {"step": 9, "train/loss": 2.0, "train/accuracy": 0.25, "train/length": 6},
        {"step": 9, "val/loss": 1.5, "val/accuracy": 0.5},
        {"step": 19, "val/loss": 0.125, "val/accuracy": 0.75},
    ]
    return make_run(folder, job, rows)


def test_curves_end_in_a_table_of_the_last_validation(tmp_path: Path) -> None:
    job = Job("lstm", "LSTM <as it comes>", "palindrome_lstm", 20)
    drawn = memory.curves([memory_run(tmp_path, job)], length=5)
    assert [picture.name for picture in drawn.pictures] == ["curves_T5.svg"]
    assert drawn.tables[0].rows == [["LSTM <as it comes>", "75.0 %", "0.1250"]]
    assert memory.points(memory_run(tmp_path, replace(job, name="b")), "train/loss") == ([10], [2.0])


@pytest.fixture
def keep(plain_trainer: Callable[..., Trainer]) -> Callable[..., None]:
    """Trains a model for one batch and keeps it as the best of a run."""

    def keep(run: FinishedRun, model: PalindromeLSTM | PalindromeRNN, data: PalindromeDataModule) -> None:
        trainer = plain_trainer(max_steps=1, limit_val_batches=0)
        trainer.fit(model, datamodule=data)
        trainer.save_checkpoint(run.run.path / "checkpoints" / "best.ckpt")

    return keep


def test_gates_of_two_networks_are_one_picture(tmp_path: Path, keep: Callable[..., None]) -> None:
    runs = [memory_run(tmp_path, Job(name, name, "any", 20)) for name in ("lstm", "rnn")]
    keep(runs[0], PalindromeLSTM(6), PalindromeDataModule(7))
    keep(runs[1], PalindromeRNN(5), PalindromeDataModule(7))
    drawn = memory.gates(runs, length=7)
    (picture,) = drawn.pictures
    assert b"names" in picture.content
    assert [note.split(":")[0] for note in drawn.notes] == [
        "LSTM, init torch, hidden size 6",
        "RNN, init torch, hidden size 5",
    ]


def test_recall_tells_how_many_digits_are_right(tmp_path: Path, keep: Callable[..., None]) -> None:
    run = memory_run(tmp_path, Job("recall", "recall", "palindrome_recall", 20))
    model = PalindromeLSTM(4, target="second_half")
    keep(run, model, PalindromeDataModule(6, target="second_half"))
    drawn = memory.recall(run)
    right = memory.right_by_position(PalindromeLSTM.load_from_checkpoint(run.checkpoint()), 6, seed=3)
    assert right.shape == (3,)
    assert f"write {100 * right.mean():.1f} % of them right" in drawn.notes[1]
    with pytest.raises(UsageError, match="has lost its checkpoints; move it away"):
        memory.recall(memory_run(tmp_path, Job("empty", "", "any", 20)))


def test_right_by_position_counts_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that always says 0, each position is right as often as a 0 stands there."""
    model = PalindromeLSTM(4, target="second_half")
    with torch.no_grad():
        model.readout.weight.zero_()
        model.readout.bias.copy_(torch.tensor([1.0, *[0.0] * 9]))
    data = PalindromeDataModule(7, target="second_half")
    data.load_state_dict({"seed": 3})
    answers = torch.cat([target for _, target in data.val_dataloader()])
    torch.testing.assert_close(memory.right_by_position(model, 7, seed=3), (answers == 0).float().mean(dim=0))


def game_run(folder: Path, name: str, source: str = "packaged") -> FinishedRun:
    shares = {f"quality/class_{digit}": 0.1 for digit in range(10)}
    rows = [
        {"step": 1, "train/d_loss": 0.5, "train/g_loss": 0.75},
        {"step": 3, "quality/fid": 90.0, "quality/fid_real": 3.0, "quality/fid_samples": 200, **shares},
    ]
    rows[1]["quality/modes_covered"] = 7
    trained = make_run(folder, Job(name, f"the {name}", name, 4), rows, data_source=source)
    (trained.run.path / "images").mkdir()
    for step in (0, 4):
        Image.new("RGB", (30, 30), (step * 20,) * 3).save(trained.run.path / "images" / f"step_{step:06d}.png")
    numbers = {key: 0.5 for key, _ in gan.COLUMNS.values()} | {"fid": 12.34, "fid_samples": 200, "recall": None}
    quality = {"raw": numbers, "remark": "It has seen them."}
    (trained.run.path / "quality.json").write_text(json.dumps(quality | ({"ema": numbers} if name == "gan" else {})))
    return trained


@pytest.fixture
def games(tmp_path: Path) -> list[FinishedRun]:
    return [game_run(tmp_path, "gan_template"), game_run(tmp_path, "gan")]


def test_grids_stand_side_by_side_moment_by_moment(games: list[FinishedRun]) -> None:
    drawn = gan.grids(games, [[0, 4], [0, 4]])
    assert [picture.name for picture in drawn.pictures] == [
        "grid_gan_template_000000.png",
        "grid_gan_000000.png",
        "grid_gan_template_000004.png",
        "grid_gan_000004.png",
    ]
    assert drawn.per_row == 2
    assert drawn.pictures[2].caption == "the gan_template, 4 batches"
    with pytest.raises(UsageError, match=r"step_000002.png is missing; move the run's folder away"):
        gan.grids(games, [[2], [2]])


def test_fids_in_training_and_at_the_end_stand_apart(games: list[FinishedRun]) -> None:
    learning, quality = gan.learning(games), gan.quality(games)
    assert not learning.tables
    assert "200 samples against all training images of the packaged digits" in learning.notes[0]
    (table,) = quality.tables
    assert [row[0] for row in table.rows] == ["the gan_template", "the gan", "the gan, moving average"]
    assert [row[1] for row in table.rows] == ["12.3"] * 3
    assert table.rows[0][table.columns.index("recall")] == "none"
    assert table.title == "200 samples against the test images of the packaged digits"
    assert quality.notes == ["It has seen them."]


def test_long_losses_are_averaged() -> None:
    batches, values = gan.averaged(range(10, 9010, 10), [float(n % 3) for n in range(900)])
    assert len(batches) == len(values) == 300
    assert batches[:2] == [20, 50]
    assert set(values) == {1.0}
    assert gan.averaged([10, 20], [3.0, 5.0]) == ([10, 20], [3.0, 5.0])
    assert gan.averaged([], []) == ([], [])


@pytest.mark.parametrize("draw", [gan.learning, gan.quality])
def test_games_on_different_digits_are_not_compared(tmp_path: Path, draw: Callable[..., Drawn]) -> None:
    runs = [game_run(tmp_path, "gan_template", "torchvision"), game_run(tmp_path, "gan")]
    told = r"can't be compared: .*gan_template.* on MNIST and .*gan.* on the packaged digits; move one away"
    with pytest.raises(UsageError, match=told):
        draw(runs)


def test_whose_digits_are_read_is_known_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_download: None
) -> None:
    a_game, a_memory = Job("a_game", "a", "gan", 4, reads_digits=True), Job("a_memory", "b", "palindrome_lstm", 4)
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    assert digits_read([a_memory], runs, None) == set()
    assert digits_read([a_game, a_memory], runs, None) == {"packaged"}
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="MNIST"):
        digits_read([a_game], runs, str(tmp_path / "file"))
    make_run(runs, a_game, [{"step": 3}], data_source="torchvision")
    assert digits_read([a_game], runs, str(tmp_path / "file")) == {"torchvision"}, "it is finished"


def test_a_generator_without_digits_is_walked_through_all_the_same(
    games: list[FinishedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpolate, "CANDIDATES", 64)
    weights = games[1].run.path / "mnist_generator.pth"
    save_generator(MLPGenerator(latent_dim=4), weights, weights="raw", step=4, data_source="packaged")
    drawn = gan.morphs(games[1])
    strip, animation = drawn.pictures
    assert strip.name == "strip.png"
    assert animation.content.startswith(b"GIF89a")
    assert drawn.notes[0].startswith("The waypoints are arbitrary noise: the classifier reads none of 64 images as a 3")
    assert "seed 3 to seed 8 to seed 1" in animation.alt


def test_a_generator_with_digits_is_walked_through_from_3_to_8_to_1(
    games: list[FinishedRun], digit_painter: MLPGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpolate, "CANDIDATES", 1024)
    weights = games[1].run.path / "mnist_generator.pth"
    save_generator(digit_painter, weights, weights="raw", step=4, data_source="packaged")
    drawn = gan.morphs(games[1])
    assert drawn.notes == []
    assert "from 3 to 8 to 1 in a straight line" in drawn.pictures[0].alt
    with Image.open(io.BytesIO(drawn.pictures[1].content)) as animation:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(animation)]
    legs = 2 * (len(STRIP) - 1)  # there and back
    assert sum(durations) == legs * (WAYPOINT_MS + (gan.ANIMATION_FRAMES - 2) * FRAME_MS)


# What was measured.


def test_what_isnt_measured_yet_is_left_out_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    for draw in (
        measured.horizon,
        measured.recipes,
        measured.game_speed,
        measured.lightning_overhead,
        measured.kernels,
    ):
        drawn = draw()
        assert not drawn.pictures
        assert not drawn.tables
        assert re.search(r"Left out: benchmarks/results/\w+\.\w+ isn't there yet.*python -m ", drawn.notes[0])


def test_speed_tables_are_those_that_were_measured() -> None:
    speed = measured.game_speed()
    measurements = [row for row in read_rows(measured.RESULTS / "gan_speed.csv") if row["who"] == "bare loop"]
    images, ratio = measurements
    assert [row["what"] for row in measurements] == ["images per second", "twofold fit / this"]
    spread = f"{int(images['lower_quartile']):,}–{int(images['upper_quartile']):,}"
    expected = ["bare loop", "2", f"{int(images['median']):,}", spread, f"{float(ratio['median']):.2f}"]
    assert expected in [list(row) for row in speed.tables[0].rows]
    assert re.fullmatch(r"benchmarks/results/gan_speed.csv(, commit \w+ of [\d-]+)?", speed.measured_from)
    assert speed.measured_by.startswith("python -m benchmarks.speed gan")
    assert measured.lightning_overhead().tables[0].rows[1] == ["20", "2", "3.89", "3.04", "1.28"]
    assert b"LSTM chrono" in measured.horizon().pictures[0].content


def test_recipes_are_averaged_over_seeds_apart_by_judge_and_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {
            "recipe": recipe,
            "batches_of_gan": 20400,
            "seed": seed,
            "data_source": source,
            "batches": 1000,
            "classifier": classifier,
            "fid": fid,
            "fid_real": 2,
            "precision": 0.5,
            "recall": 0.25,
            "modes_covered": 10,
        }
        for recipe, seed, source, classifier, fid in (
            ("dcgan", 1, "torchvision", "digit_cnn", 30),
            ("gan", 1, "torchvision", "digit_cnn", 10),
            ("gan", 2, "torchvision", "digit_cnn", 14),
            ("gan", 1, "torchvision", "digit_reader", 99),
            ("gan", 1, "packaged", "digit_cnn", 77),
        )
    ]
    write_rows(tmp_path / "gan_recipes.csv", list(rows[0]), rows)
    (tmp_path / "gan_recipes").mkdir()
    (tmp_path / "gan_recipes" / "dcgan.png").write_bytes(b"a picture")
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    drawn = measured.recipes()
    assert [(picture.content, picture.alt) for picture in drawn.pictures] == [(b"a picture", "64 images of dcgan")]
    first, second, third = drawn.tables
    assert first.rows == [
        ["gan", "2", "12.0 (10.0–14.0)", "0.50", "0.25", "10", "1,000"],
        ["dcgan", "1", "30.0", "0.50", "0.25", "10", "1,000"],
    ]
    length = "As long as gan.yaml's 20,400 batches take, on MNIST"
    assert first.title == f"{length}, classifier digit_cnn; as many real images: FID 2.0"
    assert second.rows[0][2] == "99.0"
    assert "the packaged digits" in third.title


# The page.


class Outside(HTMLParser):
    """Notes what a page would load, and whether each picture says what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.without_alt = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("link", "script", "iframe", "object", "embed"):
            self.loaded.append(tag)
        self.loaded += [str(given[name]) for name in ("src", "srcset", "data") if name in given]
        self.without_alt += tag == "img" and not given.get("alt")


def test_the_page_is_one_file_that_says_where_each_figure_is_from(tmp_path: Path) -> None:
    run = memory_run(tmp_path, Job("lstm", "LSTM", "palindrome_lstm", 1200))
    scale = replace(REPORT, page_folder=tmp_path / "new")
    drawn = {name: Drawn([Picture(f"{name}.png", b"x", "a picture")]) for name in figures.figures(scale)}
    drawn["gates"] = Drawn(tables=[Table(["who", "how much"], [["<b>", "3"]], title="a table")], notes=["It is late."])
    drawn["kernels"] = Drawn(measured_from="kernels.csv, commit abc", measured_by="python -m x")
    path = page.write(scale, drawn, {name: [run] for name in drawn} | {"kernels": []}, [run])
    text = path.read_text()
    outside = Outside()
    outside.feed(text)
    assert outside.loaded
    assert all(address.startswith("data:image/") for address in outside.loaded)
    assert outside.without_alt == 0
    assert "url(" not in text
    assert "@import" not in text
    assert "&lt;b&gt;" in text
    assert "It is late." in text
    for name in figures.figures(scale):
        assert f"<code>python -m scripts.report --only {name}</code>" in text
    origin = "config palindrome_lstm.yaml · seed 3 · batches 1,200 · data palindromes made from the seed"
    assert text.count(f"{origin} · commit abc1234 · <code>") == len(drawn) - 1
    assert "kernels.csv, commit abc, measured by <code>python -m x</code> · drawn by <code>" in text


def test_what_the_page_says_of_configs_is_what_stands_there() -> None:
    template = (page.TEMPLATES / "report.html.j2").read_text()
    rnn, lstm, recall, base = (
        yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        for name in ("palindrome_rnn", "palindrome_lstm", "palindrome_recall", "base")
    )
    rates = [config["model"]["init_args"]["optimizer"]["init_args"]["lr"] for config in (rnn, lstm)]
    assert rates == [1e-3, 1e-2]
    assert "Learning rates are 10⁻³ for the RNN and 10⁻² for" in template
    assert {config["data"]["init_args"]["batch_size"] for config in (rnn, lstm)} == {128}
    assert base["trainer"]["log_every_n_steps"] == 10
    assert "each tenth batch of 128" in template
    growth = recall["trainer"]["callbacks"][0]["init_args"]
    assert (growth["least_growth"], growth["perfect_batches"]) == (2, 3)
    assert "by two digits each time three batches in a row are perfect" in " ".join(template.split())


def test_a_figure_s_command_says_where_mnist_is_read_from(tmp_path: Path) -> None:
    game_of, memory_of = (
        make_run(tmp_path, Job(name, name, "gan", 4, reads_digits=reads), [{"step": 3}])
        for name, reads in (("a_game", True), ("a_memory", False))
    )
    assert page.command(REPORT, "grids", [game_of]) == "python -m scripts.report --only grids --root DATA"
    assert page.command(REPORT, "gates", [memory_of]) == "python -m scripts.report --only gates"
    assert page.command(DEMO, "grids", [game_of]) == "python -m scripts.demo --only grids"


def test_pictures_are_addresses() -> None:
    assert address("a.svg", b"abc") == "data:image/svg+xml;base64,YWJj"
    assert address("b.c.gif", b"abc") == "data:image/gif;base64,YWJj"


@pytest.mark.parametrize("fails", ["absent", "false", "true"])
def test_without_a_browser_that_prints_there_is_no_pdf(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "BROWSERS", (fails,))
    (tmp_path / "report.pdf").write_text("of an earlier page")
    assert page.print_to_pdf(tmp_path / "index.html") is None
    assert not list(tmp_path.iterdir())


def test_one_figure_comes_as_files_and_as_text(script: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, said, _ = script(report.main, "--only", "horizon")
    assert (code, said) == (0, "report/figures/memory_horizon.svg\n")
    assert (tmp_path / said.strip()).is_file()
    code, said, _ = script(demo.main, "--only", "lightning_overhead")
    assert code == 0
    assert "20  2  3.89  3.04  1.28" in said


def test_mistakes_are_told(refuses: Callable[..., None]) -> None:
    names = ", ".join(figures.figures(REPORT))
    refuses(
        report.main,
        [("--only nothing", f"--only nothing is no figure; write one of {names}"), ("--ful", "did you mean --full?")],
    )
    refuses(demo.main, [("--only nothing", "is no figure"), ("--root data", "there is no option --root here")])
