"""Initialisers of the parameters of the LSTM, the GRU and the RNN.

Each function fills, in place and from torch's global random state, the four parameters of a one-layer network, ours or
`torch.nn`'s:

    forget_log(*torch.nn.LSTM(10, 64).parameters(), horizon=1000)

Those of the LSTM and the GRU take the horizon T, the longest length to remember, and those of the RNN the gain and the
input scale of `latch`, whether they use them or not.

An LSTM stacks its gates in the order i, f, g, o and adds two bias vectors, `bias_ih + bias_hh`. Only the sum matters,
so a function that sets a gate's bias writes it to `bias_ih` and zeros to `bias_hh`. The same holds for r and z in a
GRU, which stacks r, z, n.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Initialiser = Callable[..., None]
LSTMInit = Literal["torch", "forget_one", "forget_log", "chrono"]
GRUInit = Literal["torch", "update_log"]
RNNInit = Literal["torch", "orthogonal", "identity", "latch"]


def uniform(*parameters: Tensor, **unused: Any) -> None:
    """All parameters from U(−1/√H, 1/√H) with H hidden units, the default of `torch.nn`."""
    _, weight_hh, _, _ = parameters
    bound = 1 / math.sqrt(weight_hh.shape[1])
    for parameter in parameters:
        nn.init.uniform_(parameter, -bound, bound)


@torch.no_grad()
def forget_one(*parameters: Tensor, horizon: int | None = None) -> None:
    """b_f = 1, the rest as in `uniform` (Gers et al. 2000; Jozefowicz et al. 2015, section 2.2)."""
    uniform(*parameters)
    _bias_of("f", *parameters).fill_(1)


@torch.no_grad()
def forget_log(*parameters: Tensor, horizon: int | None = None) -> None:
    """b_f = log T for the horizon T, the rest as in `uniform`.

    A forget gate of σ(log T) = T/(T + 1) leaves 1/e of the cell state after about T steps. `chrono` draws values up to
    about this one; here every unit has it.

    Raises:
        ValueError: when `horizon` is missing or below 2.
    """
    T = _checked(horizon, "forget_log")
    uniform(*parameters)
    _bias_of("f", *parameters).fill_(math.log(T))


@torch.no_grad()
def chrono(*parameters: Tensor, horizon: int | None = None) -> None:
    """b_f = log u with u from U(1, T − 1) for the horizon T, and b_i = −b_f; the rest as in `uniform`.

    The units' time constants, 1/(1 − σ(b_f)) = 1 + u steps, then range from 2 to T. Tallec & Ollivier 2018, "Can
    recurrent neural networks warp time?" (https://arxiv.org/abs/1804.11188).

    Raises:
        ValueError: when `horizon` is missing or below 2.
    """
    T = _checked(horizon, "chrono")
    uniform(*parameters)
    b_f = _bias_of("f", *parameters).uniform_(1, T - 1).log_()
    _bias_of("i", *parameters).copy_(-b_f)


@torch.no_grad()
def update_log(*parameters: Tensor, horizon: int | None = None) -> None:
    """b_z = log T for the horizon T, the rest as in `uniform`; `forget_log` for a GRU.

    An update gate of σ(log T) = T/(T + 1) leaves 1/e of the hidden state after about T steps.

    Raises:
        ValueError: when `horizon` is missing or below 2.
    """
    T = _checked(horizon, "update_log")
    uniform(*parameters)
    _, _, bias_ih, bias_hh = parameters
    bias_hh.chunk(3)[1].zero_()
    bias_ih.chunk(3)[1].fill_(math.log(T))


def orthogonal(*parameters: Tensor, **unused: float) -> None:
    """An orthogonal recurrent matrix, the rest as in `uniform` (Saxe et al. 2014, https://arxiv.org/abs/1312.6120)."""
    uniform(*parameters)
    _, weight_hh, _, _ = parameters
    nn.init.orthogonal_(weight_hh)


def identity(*parameters: Tensor, **unused: float) -> None:
    """The identity as recurrent matrix and zero biases, for `nonlinearity="relu"`.

    Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent networks of rectified linear units"
    (https://arxiv.org/abs/1504.00941). W_ih is as in `uniform`; the paper draws it from N(0, 0.001²).
    """
    uniform(*parameters)
    _, weight_hh, bias_ih, bias_hh = parameters
    nn.init.eye_(weight_hh)
    nn.init.zeros_(bias_ih)
    nn.init.zeros_(bias_hh)


def latch(*parameters: Tensor, gain: float = 3.0, input_scale: float = 1.0) -> None:
    """W_hh = gain · I, W_ih from U(−input_scale, input_scale), zero biases, for `nonlinearity="tanh"`.

    With g = gain > 1 and an input u, the map h ↦ tanh(g·h + u) has two stable states of opposite sign as long as
    |u| < √(g(g−1)) − arccosh √g, 1.30 for g = 3. From h = 0 a unit takes the sign of its first input. It keeps
    that through later ones within the bound, if the first wasn't too small beside them: it latches (Bengio, Simard &
    Frasconi 1994, https://doi.org/10.1109/72.279181).

    Raises:
        ValueError: when `gain` is at most 1, where a unit has one stable state, `input_scale` isn't above 0, or the
            dtype of the parameters can't hold one of them.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = parameters
    most = torch.finfo(weight_ih.dtype).max / 2  # U(−s, s) computes 2s
    if not 1 < gain <= most:
        raise ValueError(f"gain is {gain}; write a finite number, more than 1: with less a unit doesn't keep its sign")
    if not 0 < input_scale <= most:
        raise ValueError(f"input_scale is {input_scale}; write a finite number above 0")
    nn.init.uniform_(weight_ih, -input_scale, input_scale)
    with torch.no_grad():
        nn.init.eye_(weight_hh).mul_(gain)
    nn.init.zeros_(bias_ih)
    nn.init.zeros_(bias_hh)


LSTM_INITIALISERS: dict[LSTMInit, Initialiser] = {
    "torch": uniform,
    "forget_one": forget_one,
    "forget_log": forget_log,
    "chrono": chrono,
}
GRU_INITIALISERS: dict[GRUInit, Initialiser] = {"torch": uniform, "update_log": update_log}
RNN_INITIALISERS: dict[RNNInit, Initialiser] = {
    "torch": uniform,
    "orthogonal": orthogonal,
    "identity": identity,
    "latch": latch,
}


def _bias_of(gate: str, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    position = "ifgo".index(gate)
    bias_hh.chunk(4)[position].zero_()
    return bias_ih.chunk(4)[position]


def _checked(horizon: int | None, init: str) -> int:
    if horizon is None or horizon < 2:
        raise ValueError(f"init '{init}' can't use horizon {horizon}; write the longest length to remember, 2 or more")
    return horizon
