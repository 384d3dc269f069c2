"""How exactly torch multiplies matrices of 32-bit numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

MATMUL_PRECISIONS = ("highest", "high", "medium")


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """What happens inside may round the factors of matrix products; sums and results keep 32 bits.

    To TensorFloat32's 10 bits after the point or, by `medium`, bfloat16's 7, wherever the device has instructions that
    multiply those faster (NVIDIA's tensor cores, the AMX of newer Intel CPUs); anywhere else it changes nothing. See
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
