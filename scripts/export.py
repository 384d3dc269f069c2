"""A generator file for use elsewhere: as safetensors, and as ONNX that is checked against torch.

    python -m scripts.export runs/gan/…/mnist_generator.pth --safetensors generator.safetensors --onnx generator.onnx

The safetensors file holds the weights and, in its metadata under "generator", what the `.json` says; all scripts read
it as they read the `.pth`. The ONNX file takes `z (batch, latent_dim)` to `images (batch, 1, 28, 28)` in [−1, 1] for
any batch size and has the same metadata. onnxruntime runs it on several batch sizes, and it is written only if no pixel
differs from torch's by more than 1e-4.
"""

import io
import json
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import nn

from common.files import replacing, write_safetensors
from common.seeding import latent_noise, rng
from scripts.generator_files import GeneratorFile, open_generator, written_to
from twofold.errors import OneLineParser, UsageError, exit_code

TOLERANCE = 1e-4
BATCH_SIZES = (1, 2, 7, 64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files and prints their paths.

    Returns:
        The exit code: 2 when something the user wrote is wrong, 1 when ONNX computes other images than torch.
    """
    return exit_code("export", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    trained = open_generator(wanted.generator)
    if wanted.safetensors:
        with written_to(wanted.safetensors):
            write_safetensors(trained.network.state_dict(), wanted.safetensors, "generator", trained.facts)
        print(wanted.safetensors)
    if wanted.onnx:
        model = to_onnx(trained)
        difference = greatest_difference(trained.network, model)
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"ONNX and torch differ by up to {difference:.1e} in a pixel, so {wanted.onnx} isn't written"
            )
        with written_to(wanted.onnx), replacing(wanted.onnx) as draft:
            draft.write_bytes(model)
        print(f"{wanted.onnx}\nno pixel differs from torch's by more than {difference:.1e}, in batches of ", end="")
        print(", ".join(map(str, BATCH_SIZES)))
    return 0


def to_onnx(trained: GeneratorFile) -> bytes:
    """The generator as an ONNX model for batches of any size, with its facts as metadata."""
    z = latent_noise(trained.network, 2, rng(0, "trace"))
    content, names = io.BytesIO(), {"z": {0: "batch"}, "images": {0: "batch"}}
    with warnings.catch_warnings():
        # The exporter that torch recommends instead needs a package more, and what this one warns of is checked below.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            trained.network,
            (z,),
            content,  # type: ignore[arg-type]  # which this exporter takes as well
            dynamo=False,
            input_names=["z"],
            output_names=["images"],
            dynamic_axes=names,
        )
    model = onnx.load_model_from_string(content.getvalue())
    onnx.helper.set_model_props(model, {"generator": json.dumps(trained.facts)})
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


@torch.no_grad()
def greatest_difference(network: nn.Module, model: bytes) -> float:
    """The greatest difference between a pixel of torch's and onnxruntime's images, over `BATCH_SIZES`.

    Raises:
        RuntimeError: when onnxruntime makes another number of images.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    differences = []
    for size in BATCH_SIZES:
        z = latent_noise(network, size, rng(0, "check", size))
        (images,) = session.run(["images"], {"z": z.numpy()})
        if images.shape != (expected := network(z)).shape:
            raise RuntimeError(f"ONNX makes {len(images)} images of a batch of {size}, so it isn't written")
        differences.append((torch.from_numpy(images) - expected).abs().max())
    return float(torch.stack(differences).max())


def _parse(arguments: list[str]) -> Namespace:
    parser = OneLineParser(prog="python -m scripts.export", description=__doc__)
    parser.add_argument("generator", type=Path, help="generator file, such as runs/gan/…/mnist_generator.pth")
    for ending in ("onnx", "safetensors"):
        parser.add_argument(f"--{ending}", type=Path, help=f"where to write, a name that ends in .{ending}")
    wanted = parser.parse_args(arguments)
    if not (wanted.onnx or wanted.safetensors):
        raise UsageError("nothing to write; add --onnx FILE.onnx or --safetensors FILE.safetensors")
    for ending in ("onnx", "safetensors"):
        path = getattr(wanted, ending)
        if path and path.suffix != f".{ending}":
            raise UsageError(f"--{ending} {path} names no such file; write a name that ends in .{ending}")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
