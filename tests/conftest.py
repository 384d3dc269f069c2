"""While tests run, the shapes in signatures are checked: `Float[Tensor, "batch 1 28 28"]` is then a promise."""

from collections.abc import Iterator

import pytest
from jaxtyping import config, install_import_hook

# Before any test file imports them.
install_import_hook(["networks", "lightning_modules", "datamodules", "callbacks"], "shape_checks.checked")

import torch  # noqa: E402

# Two threads on a busy machine wait for each other: a test of 7 s once took 130.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches the checks off, to see what our own refusals tell somebody who hands over a wrong shape."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
