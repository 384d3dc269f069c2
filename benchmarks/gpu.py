"""All measurements on a GPU, in eight minutes at most: python -m benchmarks.speed gpu

    python -m benchmarks.speed gpu --root DATA                 measures what gpu.csv lacks, and what failed
    python -m benchmarks.speed gpu --root DATA --peer FOLDER   PyTorch-GAN's script as well
    python -m benchmarks.speed gpu --device cpu                a trial without a GPU; writes gpu_cpu.csv

A row is a quantity of a case. The sections:

- config: milliseconds per batch of each shipped config by `twofold fit`, without validation, checkpoints, pictures,
  evaluations and W&B, and of its plain loop if it has one; how often the CPU waits for the GPU in a batch.
- peer: milliseconds per batch of PyTorch-GAN's script.
- lstm: forward and backward of each kernel, and their time over that of `nn.LSTM`; which kernel `auto` takes.
- recurrence: the same of the linear recurrence, over the loop that autograd differentiates.
- product: matrix products and convolutions by precision; the largest error over the largest result in float64.
- determinism: how many tensors of the weights differ between two runs of the same command.
- tests: how many of the tests that need a GPU pass.
- variant: `twofold fit` in bfloat16 and compiled, over the same run without.

Quartiles are over windows of batches, or over rounds. The `outcome` of a case that failed is its error.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.bitwise_diff import unequal
from benchmarks.command import data_settings, killed_at_end, launch
from benchmarks.gpu_probe import WARM_UP, WINDOW, WINDOWS
from benchmarks.lstm_kernels import HIDDEN, LSTMS, REFERENCE, lstm_step, lstm_with, recurrence_steps, weights_and_digits
from benchmarks.results import Results
from benchmarks.speed import gan_loop, palindrome_loop, peer, peer_script
from benchmarks.timing import batches_per_second, compared, milliseconds, quartiles
from common.files import read_tensors
from common.matmul_precision import MATMUL_PRECISIONS, matmul_precision
from networks.lstm import fastest_kernel
from scripts.digits import open_digits
from scripts.train_runs import callback, read_shipped
from twofold.errors import UsageError, one_line
from twofold.main import main
from twofold.provenance import CONFIGS, ROOT
from twofold.threads import auto_threads, usable_cores

SECONDS, SECONDS_OF_A_CASE = 480, 200
SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("base", "gan_folder"))
LENGTHS, ROUNDS = (5, 20, 100, 400), 20
STEPS = 1000
"""Of the linear recurrence."""
SIZE = 4096
"""Rows and columns of the matrices, and 16 times the images of the convolution."""
VARIANTS = {"bf16-mixed": "--trainer.precision=bf16-mixed", "compiled": "--compile=true"}

Quantities = Mapping[str, str | float | Sequence[float]]
"""Texts, numbers, and samples of which the table gets the quartiles."""
Case = tuple[str, str, Callable[[], Quantities]]
"""Section, case, and what measures it."""


def measure(options: Namespace) -> None:
    """Measures all cases that the table lacks.

    Raises:
        UsageError: when there is no CUDA device, or the table is that of another one.
    """
    is_cuda = options.device == "cuda"
    if is_cuda and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here; write --device cpu to try this command")
    device = torch.cuda.get_device_name() if is_cuda else options.device
    about = {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda if is_cuda else ""}
    results = Results(options.out / ("gpu.csv" if is_cuda else "gpu_cpu.csv"), "section", "case", "quantity")
    results.refuse_other(**about)
    torch.set_num_threads(auto_threads(usable_cores(), on_cpu=not is_cuda))  # as a run with `threads: auto`
    end = time.monotonic() + SECONDS
    with TemporaryDirectory() as options.runs:
        os.environ["TWOFOLD_RUNS"] = options.runs
        for section, case, work in cases(options):
            if results.has(section=section, case=case, quantity="outcome", value="measured"):
                continue
            if (left := end - time.monotonic()) < 1:
                print(f"{SECONDS} seconds are over; the same command measures the rest")
                return
            quantities: Quantities
            try:
                with time_limit(min(left, SECONDS_OF_A_CASE)), matmul_precision("highest"):
                    quantities = {**work(), "outcome": "measured"}
            except (Exception, SystemExit) as error:
                quantities = {"outcome": f"failed: {one_line(error)}"}
            for quantity, value in quantities.items():
                lower, middle, upper = ("", value, "") if isinstance(value, str | int | float) else quartiles(value)
                row = {"section": section, "case": case, "quantity": quantity, "value": middle}
                results.add({**row, "lower_quartile": lower, "upper_quartile": upper, **about})


def cases(options: Namespace) -> Iterator[Case]:
    """All cases, in the order in which they are measured."""
    for config in SHIPPED:
        yield "config", config, partial(run_and_loop, options, config)
    if options.peer is not None:
        yield "peer", "PyTorch-GAN", partial(run_peer, options)
    for length in LENGTHS:
        yield "lstm", f"T = {length}", partial(lstm, options.device, length)
    for n in (1, 8, 64):
        yield "recurrence", f"sequences: {n}", partial(recurrence, options.device, n)
    for precision in MATMUL_PRECISIONS:
        yield "product", f"matrices, matmul_precision {precision}", partial(matrices, options.device, precision)
    for tf32 in (True, False):
        yield "product", f"convolution, cudnn.allow_tf32 {tf32}", partial(convolution, options.device, tf32)
    for config in ("dcgan", "gan", "palindrome_recall"):
        for value in ("true", "false"):
            yield "determinism", f"{config}, deterministic {value}", partial(run_twice, options, config, value)
    yield "tests", "pytest -m gpu", run_tests
    for name, setting in VARIANTS.items():
        for config in ("gan", "dcgan"):
            yield "variant", f"{config}, {name}", partial(run_variant, options, config, setting)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block when it takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fit_arguments(options: Namespace, config: str) -> list[str]:
    """The arguments of `twofold` that train a shipped config on the device without validation."""
    has_images = read_shipped(config)["data"]["class_path"] == "datamodules.MNISTDataModule"
    accelerator = "gpu" if options.device == "cuda" else options.device
    data = data_settings(options) if has_images else ()
    return ["fit", "-c", config, *data, f"--trainer.accelerator={accelerator}", "--trainer.limit_val_batches=0"]


def fit(options: Namespace, config: str, *settings: str) -> dict[str, Any]:
    """What `benchmarks.gpu_probe.Probe` finds in a run of a shipped config."""
    path = Path(options.runs) / "probe.json"
    callbacks = [{"class_path": "benchmarks.gpu_probe.Probe", "init_args": {"path": str(path)}}]
    if "StopWhenSolved" in str(read_shipped(config)["trainer"]):  # counts perfect batches, and here never stops
        callbacks.append(callback("StopWhenSolved", perfect_batches=10**9))
    others = ("--trainer.enable_checkpointing=false", "--trainer.logger=twofold.loggers.CSVLogger")
    arguments = [*fit_arguments(options, config), f"--trainer.callbacks={json.dumps(callbacks)}", *others, *settings]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as complaints:
        code = main(arguments)
    if code:
        raise RuntimeError(complaints.getvalue().strip())
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def run_and_loop(options: Namespace, config: str) -> Quantities:
    """Milliseconds per batch of a config, over that of its plain loop if it has one."""
    found = fit(options, config)
    match config:
        case "gan_template":
            losses = iter(gan_loop(str(options.root), options.source, options.device))
        case "palindrome_lstm":
            losses = iter(palindrome_loop(20, options.device))
        case _:
            return found
    list(islice(losses, WARM_UP))
    ms = [milliseconds(lambda: list(islice(losses, WINDOW)), options.device) / WINDOW for _ in range(WINDOWS)]
    return found | {"plain loop, ms": ms, "twofold fit / plain loop": median(found["twofold fit, ms"]) / median(ms)}


def run_peer(options: Namespace) -> Quantities:
    """Milliseconds per batch of PyTorch-GAN's script, which takes a GPU if there is one."""
    root = open_digits(options.root.absolute(), options.source).root
    start = partial(peer, script=peer_script(options.peer), root=root)
    return {"ms": [1000 / each for each in batches_per_second({"": start}, rounds=WINDOWS, turns=1)[""]]}


def run_variant(options: Namespace, config: str, setting: str) -> Quantities:
    """Milliseconds per batch with a setting, over those without."""
    plain, varied = (fit(options, config, *settings)["twofold fit, ms"] for settings in ((), (setting,)))
    return {"ms": varied, "without, ms": plain, "ratio": median(varied) / median(plain)}


def run_twice(options: Namespace, config: str, deterministic: str) -> Quantities:
    """How many tensors of the weights differ between two processes that run the same command."""
    folders = [Path(options.runs) / f"{config} {deterministic} {n}" for n in (1, 2)]
    settings = ("--trainer.max_steps=50", "--trainer.callbacks=null", "--trainer.logger=false")
    others = ("--checkpoint.monitor=null", f"--trainer.deterministic={deterministic}")
    arguments = [*fit_arguments(options, config), *settings, *others]
    with ExitStack() as stack:
        runs = [
            stack.enter_context(killed_at_end(launch(folder, *arguments, start_new_session=True))) for folder in folders
        ]
        if codes := [run.returncode for run in runs if run.wait()]:
            raise RuntimeError(f"a run ended with exit code {codes[0]}; its error message is above")
    one, other = (read_tensors(next(folder.rglob("last.ckpt")))["state_dict"] for folder in folders)
    return {"tensors that differ": len(list(unequal(one, other))), "tensors": len(one)}


def run_tests() -> Quantities:
    """How many tests that need a GPU pass, fail and are skipped."""
    files = [
        str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8")
    ]
    workers = str(min(8, os.cpu_count() or 1))
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-n", workers, "-p", "no:cacheprovider", *files]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with killed_at_end(process):
        printed, _ = process.communicate()
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|errors?|skipped)", printed[-200:])}
    if not counts:
        raise RuntimeError(printed[-500:])
    return counts


def times_and_ratios(steps: Mapping[str, Callable[[], object]], reference: str, device: str) -> dict[str, Any]:
    """The milliseconds of each step, and the time over that of the reference in the same round."""
    found = compared(steps, reference, ROUNDS, device)
    over = {f"{name} / {reference}": each["ratio"] for name, each in found.items() if name != reference}
    return {f"{name}, ms": each["ms"] for name, each in found.items()} | over


def lstm(device: str, length: int) -> Quantities:
    """The LSTM's kernels next to cuDNN's, and what `auto` takes."""
    weights, x = weights_and_digits(length)
    on_device = {name: each.to(device) for name, each in weights.items()}
    steps = {name: partial(lstm_step, lstm_with(name, on_device), x.to(device)) for name in LSTMS}
    taken = fastest_kernel(device, len(x), x.shape[1], HIDDEN, trains_in_float32=True)
    return times_and_ratios(steps, REFERENCE, device) | {"auto takes": taken}


def recurrence(device: str, n: int) -> Quantities:
    """The linear recurrence's kernels next to its loop."""
    return times_and_ratios(recurrence_steps(STEPS, n, device), "equations", device)


def matrices(device: str, precision: str) -> Quantities:
    """A product of random matrices."""
    a, b = torch.randn(2, SIZE, SIZE, device=device)
    with matmul_precision(precision):
        return times_and_error(torch.matmul, a, b, device)


def convolution(device: str, allow_tf32: bool) -> Quantities:
    """A convolution of random images."""
    images, weight = (torch.randn(shape, device=device) for shape in ((SIZE // 16, 64, 28, 28), (64, 64, 3, 3)))
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=allow_tf32):
        return times_and_error(F.conv2d, images, weight, device)


def times_and_error(function: Callable[..., torch.Tensor], a: torch.Tensor, b: torch.Tensor, device: str) -> Quantities:
    """Milliseconds, and the largest error over the largest result in float64."""
    ms = [milliseconds(partial(function, a, b), device) for _ in range(ROUNDS)]
    exact = function(a.double(), b.double())
    return {"ms": ms[2:], "error": float((function(a, b) - exact).abs().max() / exact.abs().max())}
