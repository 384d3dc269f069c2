"""The speed of whole commands: python -m benchmarks.speed [gan] [overhead] [start] [gpu]

- gan: images per second of configs/gan_template.yaml by `twofold fit` (as shipped; without W&B; with matrix products
  in float32), by a plain PyTorch loop of the same mathematics, and by PyTorch-GAN's implementations/gan/gan.py,
  unmodified, where --peer names a checkout of https://github.com/eriklindernoren/PyTorch-GAN. Writes gan_speed.csv.
- overhead: milliseconds per batch of configs/palindrome_lstm.yaml and configs/gan_template.yaml by `twofold fit`, by an
  otherwise empty Lightning Trainer (no loggers, checkpoints, validation, pictures or bar), and by a plain loop. Writes
  lightning_overhead.csv.
- start: seconds of whole commands, from start to exit: `twofold fit` of one batch, with W&B and without, `twofold runs`
  and `twofold --help`, beside `import lightning`. Writes start_up.csv.
- gpu: everything on a GPU, see `benchmarks.gpu`; only if it is named.

The programs take turns of two seconds, see `benchmarks.timing`; starting up doesn't count. The tables hold median and
quartiles over rounds, and ratios within a round.
"""

import os
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor

from benchmarks.command import add_mnist, data_settings, run
from benchmarks.results import Results
from benchmarks.timing import MARK, BatchMarks, Training, batches_per_second, fit, interleaved, ratios, spread
from common.seeding import latent_noise, rng
from datamodules import MNISTDataModule, PalindromeDataModule
from datamodules.mnist import Source
from lightning_modules import GAN, PalindromeLSTM
from losses.gan import minimax_discriminator_loss, nonsaturating_generator_loss
from scripts.digits import open_digits
from scripts.train_runs import read_shipped
from twofold.errors import UsageError
from twofold.provenance import ROOT

PEER_COMMIT = "36d3c77e5ff20ebe0aeefd322326a134a279b93e"
PEER_FILE = "implementations/gan/gan.py"
BATCH_SIZE = 64
IMPORT = "import lightning"


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--peer", type=Path, help="a checkout of PyTorch-GAN, by default left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="of the benchmark gpu")


def gan(options: Namespace) -> None:
    """Images per second of the textbook recipe."""
    script = None if options.peer is None else peer_script(options.peer)
    root = open_digits(options.root.absolute(), options.source).root
    config = ("-c", "gan_template", *data_settings(options))
    fits = {
        "twofold fit": (),
        "twofold fit without W&B": ("--trainer.logger", "twofold.loggers.CSVLogger"),
        "twofold fit, matmul_precision highest": ("--model.matmul_precision", "highest"),
    }
    programs: dict[str, Callable[[Path], Training]] = {
        name: partial(fit, settings=(*config, *settings)) for name, settings in fits.items()
    }
    programs["plain loop"] = partial(loop, function="gan_loop", arguments=(str(root), options.source))
    if script is not None:
        programs["PyTorch-GAN"] = partial(peer, script=script, root=root)
    measured = batches_per_second(programs, options.rounds)
    results = Results(options.out / "gan_speed.csv", "program", "threads", "quantity")
    for program, batches in measured.items():
        speeds = {
            "images per second": [BATCH_SIZE * each for each in batches],
            "twofold fit / this": ratios(measured["twofold fit"], batches),
        }
        add_quartiles(results, {"program": program}, speeds)


def overhead(options: Namespace) -> None:
    """What Lightning, and what our callbacks, loggers, validation and checkpoints cost."""
    root = str(open_digits(options.root.absolute(), options.source).root)
    cases: dict[str, tuple[Sequence[object], str, tuple[object, ...]]] = {
        f"palindrome_lstm, T = {length}": (("-c", "palindrome_lstm", "--data.length", length), "palindrome", (length,))
        for length in (5, 20)
    }
    cases["gan_template"] = (("-c", "gan_template", *data_settings(options)), "gan", (root, options.source))
    results = Results(options.out / "lightning_overhead.csv", "experiment", "threads", "quantity")
    for experiment, (settings, name, arguments) in cases.items():
        if results.has(experiment=experiment, threads=torch.get_num_threads()):
            continue
        measured = batches_per_second(
            {
                "twofold fit": partial(fit, settings=(*settings, "--trainer.max_steps", "-1")),
                "empty Trainer": partial(empty_trainer, function=f"{name}_parts", arguments=arguments),
                "plain loop": partial(loop, function=f"{name}_loop", arguments=arguments),
            },
            options.rounds,
        )
        times = {program: [1000 / each for each in batches] for program, batches in measured.items()}
        plain = times["plain loop"]
        quantities = {f"{program}, ms": ms for program, ms in times.items()}
        for program in ("twofold fit", "empty Trainer"):
            quantities[f"{program} − plain loop, ms"] = [
                ms - loop for ms, loop in zip(times[program], plain, strict=True)
            ]
            quantities[f"{program} / plain loop"] = ratios(times[program], plain)
        add_quartiles(results, {"experiment": experiment}, quantities)


def gpu(options: Namespace) -> None:
    """Everything on a GPU."""
    from benchmarks.gpu import measure  # which imports this file

    measure(options)


def start(options: Namespace) -> None:
    """What `twofold` adds to the import of Lightning."""
    fit_once = ("twofold", "fit", "-c", "palindrome_lstm", "--trainer.max_steps", "1")
    commands = {
        IMPORT: ("python", "-c", "import lightning"),
        "twofold fit": fit_once,
        "twofold fit without W&B": (*fit_once, "--trainer.logger", "twofold.loggers.CSVLogger"),
        "twofold runs": ("twofold", "runs"),
        "twofold --help": ("twofold", "--help"),
    }
    results = Results(options.out / "start_up.csv", "command", "threads")
    with TemporaryDirectory() as runs:
        calls = {name: partial(seconds, command, runs) for name, command in commands.items()}
        measured = interleaved(calls, options.rounds, warm_up=1)
    for name, values in measured.items():
        row = {"command": name, "threads": torch.get_num_threads(), "fastest": min(values), **spread(values)}
        results.add({**row, "fastest_minus_import": min(values) - min(measured[IMPORT])})


def seconds(command: Sequence[str], runs: str) -> float:
    """The wall-clock time of a command beside this Python."""
    program, *arguments = command
    begin = time.perf_counter()
    path = str(Path(sys.executable).with_name(program))
    subprocess.run([path, *arguments], check=True, capture_output=True, env={**os.environ, "TWOFOLD_RUNS": runs})
    return time.perf_counter() - begin


def add_quartiles(results: Results, columns: Mapping[str, object], quantities: Mapping[str, Sequence[float]]) -> None:
    """Adds a row for each quantity, with its quartiles over rounds."""
    for quantity, values in quantities.items():
        results.add({**columns, "threads": torch.get_num_threads(), "quantity": quantity, **spread(values)})


def loop(folder: Path, function: str, arguments: tuple[object, ...]) -> Training:
    """A loop of this file in a subprocess."""
    return _subprocess(folder, f"write_marks(path, speed.{function}(*{arguments!r}))")


def empty_trainer(folder: Path, function: str, arguments: tuple[object, ...]) -> Training:
    """A Trainer of the parts that a function of this file returns, in a subprocess."""
    return _subprocess(folder, f"train_by_trainer(path, *speed.{function}(*{arguments!r}))")


def _subprocess(folder: Path, call: str) -> Training:
    marks = folder / "marks"
    command = f"from benchmarks import speed; path = {str(marks)!r}; speed.{call}"
    return Training(subprocess.Popen([sys.executable, "-c", command], cwd=ROOT), marks)


def write_marks(path: str, losses: Iterable[Tensor]) -> None:
    """Trains until the process is killed; reads the summed losses every 50 batches."""
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # Lightning sets it, and torch would ask the driver each step
    with open(path, "wb", buffering=0) as file:
        total = torch.zeros(())
        for batch, loss in enumerate(losses):
            total = total + loss
            if batch % 50 == 49:
                total.tolist()
            file.write(MARK)


def train_by_trainer(path: str, module: LightningModule, data: LightningDataModule, clip: float | None) -> None:
    """Trains by a Lightning Trainer that does nothing else, until the process is killed."""
    Trainer(
        max_steps=-1,
        callbacks=[BatchMarks(path)],
        gradient_clip_val=clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    ).fit(module, data)


def gan_parts(root: str, source: Source, config: str = "gan_template") -> tuple[GAN, MNISTDataModule, None]:
    """configs/gan_template.yaml, or another config's networks in its place: module, data, and no clipping."""
    torch.manual_seed(1)
    arguments = read_shipped(config)["model"]["init_args"]
    specs = (arguments["generator"], arguments["discriminator"])
    G, D = (resolve_name(spec["class_path"])(**spec.get("init_args", {})) for spec in specs)
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.9, 0.999), fused=True)
    module = GAN(G, D, adam, adam, matmul_precision=arguments["matmul_precision"])
    data = MNISTDataModule(root, source, BATCH_SIZE)
    data.load_state_dict({"seed": 1})
    return module, data, None


def gan_loop(root: str, source: Source, device: str = "cpu", config: str = "gan_template") -> Iterable[Tensor]:
    """`gan_parts` without Lightning: the same networks, data, noise, precision and fused Adam."""
    module, data, _ = gan_parts(root, source, config)
    torch.set_float32_matmul_precision(module.matmul_precision)
    data.setup()
    G, D = module.generator.to(device), module.discriminator.to(device)
    g_optimizer, d_optimizer = (
        module.generator_optimizer(G.parameters()),
        module.discriminator_optimizer(D.parameters()),
    )
    batches = (images for _ in count() for images, _ in data.train_dataloader())
    for batch, images in enumerate(images.to(device) for images in batches):
        fakes = G(latent_noise(G, len(images), rng(1, "noise", batch, device=device)))
        d_loss = minimax_discriminator_loss(D(images), D(fakes.detach()))
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        D.requires_grad_(False)
        fake = D(fakes)
        g_loss = nonsaturating_generator_loss(fake, fake)
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        D.requires_grad_(True)
        yield torch.stack([d_loss.detach(), g_loss.detach()])


def palindrome_parts(length: int) -> tuple[PalindromeLSTM, PalindromeDataModule, float]:
    """configs/palindrome_lstm.yaml: module, data, and the norm to clip gradients to."""
    torch.manual_seed(1)
    adam = partial(torch.optim.Adam, lr=0.01, fused=True)
    kernel = read_shipped("palindrome_lstm")["model"]["init_args"]["kernel"]
    module = PalindromeLSTM(64, init="forget_log", horizon=length, kernel=kernel, optimizer=adam)
    data = PalindromeDataModule(length)
    data.load_state_dict({"seed": 1})
    return module, data, 1.0


def palindrome_loop(length: int, device: str = "cpu") -> Iterable[Tensor]:
    """configs/palindrome_lstm.yaml without Lightning."""
    module, data, clip = palindrome_parts(length)
    optimizer = module.optimizer(module.to(device).parameters())
    for digits, target in (batch for _ in count() for batch in data.train_dataloader()):
        loss = F.cross_entropy(module(digits.to(device)), target.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        yield loss.detach()


def peer_script(checkout: Path) -> bytes:
    """PyTorch-GAN's script at the commit.

    Raises:
        UsageError: when the checkout doesn't hold it.
    """
    show = ["git", "-C", str(checkout), "show", f"{PEER_COMMIT}:{PEER_FILE}"]
    shown = subprocess.run(show, check=False, capture_output=True)
    if shown.returncode != 0:
        raise UsageError(f"--peer {checkout} is no checkout of PyTorch-GAN with commit {PEER_COMMIT[:7]}")
    return shown.stdout


def peer(folder: Path, script: bytes, root: Path) -> Training:
    """PyTorch-GAN's script, which prints a line after each batch."""
    path = folder / PEER_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(script)
    shutil.copytree(root / "MNIST" / "raw", folder / "data" / "mnist" / "MNIST" / "raw")
    printed = folder / "printed"
    with printed.open("wb") as file:  # unbuffered by -u, or its lines would come in blocks
        process = subprocess.Popen([sys.executable, "-u", path.name], cwd=path.parent, stdout=file)
    return Training(process, printed, b"] [Batch ")


BENCHMARKS = {"gan": gan, "overhead": overhead, "start": start}
main = partial(run, "speed", __doc__, BENCHMARKS, add_options=add_options, if_named={"gpu": gpu})

if __name__ == "__main__":
    sys.exit(main())
