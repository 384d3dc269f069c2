"""How exactly torch multiplies matrices of 32-bit numbers."""

import pytest
import torch

from common.matmul_precision import MATMUL_PRECISIONS, matmul_precision


@pytest.mark.parametrize("name", MATMUL_PRECISIONS)
@pytest.mark.parametrize("before", MATMUL_PRECISIONS)
def test_afterwards_torch_multiplies_as_before(before: str, name: str) -> None:
    def multiply() -> None:
        with matmul_precision(name):
            assert torch.get_float32_matmul_precision() == name
            raise RuntimeError("in between")

    with matmul_precision(before):
        with pytest.raises(RuntimeError, match="in between"):
            multiply()
        assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("name", MATMUL_PRECISIONS)
def test_products_are_off_by_no_more_than_rounded_factors_allow(name: str) -> None:
    a, b = torch.rand(64, 128), torch.rand(128, 256)
    exact = a.double() @ b.double()
    with matmul_precision(name):
        product = a @ b
    assert product.dtype == torch.float32
    roundings = {"highest": 2**-20, "high": 2**-9, "medium": 2**-6}
    assert ((product - exact).abs() <= exact * roundings[name]).all()
