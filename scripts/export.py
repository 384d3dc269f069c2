"""Exports a generator file for use elsewhere: as safetensors, and as ONNX that is compared with torch.

    python -m scripts.export runs/gan/…/mnist_generator.pth --safetensors generator.safetensors --onnx generator.onnx

The safetensors file holds the weights and, as its metadata under "generator", what the `.json` says; every script
reads it like the `.pth`. The ONNX file maps `z (batch, latent_dim)` to `images (batch, channels, height, width)`
in [−1, 1] for any batch size and has the same metadata; of a class-conditional generator it has a second input, the
int64 `labels (batch)`. It is run by onnxruntime on several batch sizes first, and
written only if no pixel differs from torch's by more than 1e-4.
"""

import io
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from common.files import replacing, write_safetensors
from common.seeding import latent_noise, rng
from networks.conditional import labels_in_turn
from scripts.arguments import file_name
from scripts.generator_files import GeneratorFile, open_generator
from twofold.errors import OneLineParser, UsageError, exit_code

TOLERANCE = 1e-4
BATCH_SIZES = (1, 2, 7, 64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files and prints their paths.

    Returns:
        The exit code: 2 for a mistake in the arguments, 1 when ONNX computes other images than torch.
    """
    return exit_code("export", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m scripts.export", description=__doc__)
    parser.add_argument("generator", type=Path, help="generator file, such as runs/gan/…/mnist_generator.pth")
    parser.add_argument("--onnx", type=file_name(".onnx"), help="where to write the ONNX model, an .onnx file")
    weights = "where to write the weights, a .safetensors file"
    parser.add_argument("--safetensors", type=file_name(".safetensors"), help=weights)
    options = parser.parse_args(arguments)
    if not (options.onnx or options.safetensors):
        raise UsageError("nothing to write; add --onnx FILE.onnx or --safetensors FILE.safetensors")

    trained = open_generator(options.generator)
    if options.safetensors:
        write_safetensors(trained.network.state_dict(), options.safetensors, "generator", trained.metadata)
        print(options.safetensors)
    if options.onnx:
        model = to_onnx(trained)
        difference = max_difference(trained.network, model)
        if not difference <= TOLERANCE:  # also when it is nan
            raise RuntimeError(f"ONNX and torch differ by up to {difference:.1e}, so {options.onnx} isn't written")
        with replacing(options.onnx) as draft:
            draft.write_bytes(model)
        sizes = ", ".join(map(str, BATCH_SIZES))
        print(f"{options.onnx}\nno pixel differs from torch's by more than {difference:.1e}, in batches of {sizes}")
    return 0


def to_onnx(trained: GeneratorFile) -> bytes:
    """Returns the generator as a serialised ONNX model for batches of any size, with its metadata."""
    inputs = _inputs(trained.network, 2, "trace")
    content = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that torch recommends needs another package. The warnings are about what is compared afterwards.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            trained.network,
            tuple(inputs.values()),
            content,  # type: ignore[arg-type]  # this exporter takes a buffer
            dynamo=False,
            input_names=[*inputs],
            output_names=["images"],
            dynamic_axes={name: {0: "batch"} for name in (*inputs, "images")},
        )
    model = onnx.load_model_from_string(content.getvalue())
    onnx.helper.set_model_props(model, {"generator": json.dumps(trained.metadata)})
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


@torch.no_grad()
def max_difference(network: nn.Module, model: bytes) -> float:
    """Returns the largest difference between a pixel of torch's and onnxruntime's images, over `BATCH_SIZES`.

    Raises:
        RuntimeError: when onnxruntime makes another number of images.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    differences = []
    for size in BATCH_SIZES:
        inputs = _inputs(network, size, "check", size)
        (images,) = session.run(["images"], {name: value.numpy() for name, value in inputs.items()})
        if images.shape != (expected := network(*inputs.values())).shape:
            raise RuntimeError(f"ONNX makes {len(images)} images of a batch of {size}, so it isn't written")
        differences.append((torch.from_numpy(images) - expected).abs().max())
    return float(torch.stack(differences).max())


def _inputs(network: nn.Module, n: int, *key: int | str) -> dict[str, Tensor]:
    """Noise, and labels of all classes in turn for a class-conditional generator, by their names in the ONNX file."""
    values = (latent_noise(network, n, rng(0, *key)), *labels_in_turn(network, n))
    return dict(zip(("z", "labels"), values, strict=False))


if __name__ == "__main__":
    sys.exit(main())
