"""The precision of float32 matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

MATMUL_PRECISIONS = ("highest", "high", "medium")


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Inside, float32 matrix products may round their factors; sums and results stay float32.

    "high" rounds to TensorFloat32 (10 bits after the point) and "medium" to bfloat16 (7 bits), on devices with fast
    instructions for them (NVIDIA's tensor cores, AMX of newer Intel CPUs); elsewhere nothing changes. See
    `torch.set_float32_matmul_precision`. Convolutions have settings of their own.

    Args:
        name: one of `MATMUL_PRECISIONS`.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
