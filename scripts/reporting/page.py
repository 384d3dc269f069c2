"""The page: figures, what is said of them and where they are from, in one file; and the same printed."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from callbacks.drawing import IN_WORDS
from common.files import replacing
from scripts.plotting import address
from scripts.reporting.drawn import Drawn, Picture
from scripts.reporting.gan import POINTS_OF_LOSSES
from scripts.reporting.scale import Scale
from scripts.trained_jobs import FinishedRun, commit
from twofold.provenance import ROOT

TEMPLATES = ROOT / "assets" / "report"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WITHOUT_A_WINDOW = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
SECONDS_TO_PRINT = 120
PICTURES = "figures"


def write(
    scale: Scale, drawn: Mapping[str, Drawn], used: Mapping[str, Sequence[FinishedRun]], trained: Iterable[FinishedRun]
) -> Path:
    """Writes `index.html` with all that was drawn; returns its path.

    Args:
        drawn: by figure.
        used: the runs that each figure was drawn from.
        trained: all runs, whose settings are shown.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["address"] = lambda picture: address(picture.name, picture.content)
    path = scale.folder / "index.html"
    text = environment.get_template("report.html.j2").render(
        scale=scale,
        drawn=drawn,
        origins={name: origin(runs) for name, runs in used.items()},
        commands={name: command(scale, name, runs) for name, runs in used.items()},
        runs=list(trained),
        commit=commit(),
        points_of_losses=POINTS_OF_LOSSES,
    )
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def command(scale: Scale, figure: str, runs: Sequence[FinishedRun]) -> str:
    """What is typed to make just this figure, which these runs are for."""
    reads_mnist = scale.source != "packaged" and any(run.job.reads_digits for run in runs)
    return f"{scale.command} --only {figure}{' --root DATA' if reads_mnist else ''}"


def origin(runs: Sequence[FinishedRun]) -> list[str]:
    """What a figure's runs were made from, each fact once."""
    if not runs:
        return []
    facts = {
        "runs": [run.job.name for run in runs],
        "config": [f"{run.job.config}.yaml" for run in runs],
        "seed": [str(run.config["seed_everything"]) for run in runs],
        "batches": [f"{run.run.step:,}" for run in runs],
        "data": [_source(run) for run in runs],
        "commit": [one for run in runs for one in run.commits or ("unknown",)],
    }
    return [f"{name} {', '.join(dict.fromkeys(values))}" for name, values in facts.items()]


def _source(run: FinishedRun) -> str:
    source = run.data_source
    return "palindromes made from the seed" if source is None else IN_WORDS.get(source, source)


def write_pictures(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    """Each as a file of its own; returns their paths."""
    paths = [folder / PICTURES / picture.name for picture in pictures]
    for path, picture in zip(paths, pictures, strict=True):
        with replacing(path) as draft:
            draft.write_bytes(picture.content)
    return paths


def print_to_pdf(page: Path) -> Path | None:
    """Writes `report.pdf` beside the page and returns its path; None where there is no browser that can."""
    path = page.with_name("report.pdf")
    path.unlink(missing_ok=True)  # of an earlier page
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return None
    with TemporaryDirectory() as folder:
        printed = Path(folder) / "printed.pdf"
        options = (f"--user-data-dir={folder}/profile", "--no-pdf-header-footer", f"--print-to-pdf={printed}")
        try:
            subprocess.run(
                [browser, *WITHOUT_A_WINDOW, *options, page.absolute().as_uri()],
                capture_output=True,
                timeout=SECONDS_TO_PRINT,
                check=True,
            )
            with replacing(path) as draft:
                shutil.copyfile(printed, draft)
        except (subprocess.SubprocessError, FileNotFoundError):
            return None
    return path
