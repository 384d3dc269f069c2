"""Each initialiser against its formula. The LSTM's gates are stacked i, f, g, o; a bias is the sum of two vectors."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks.gru import GRU
from networks.initialisers import LSTM_INITIALISERS, LSTMInit, chrono, forget_log
from networks.lstm import LSTM
from networks.rnn import RNN

horizons = st.integers(2, 10**6)
sizes = st.integers(1, 300)


def biases(lstm: nn.Module) -> tuple[Tensor, ...]:
    """b_i, b_f, b_g, b_o."""
    *_, bias_ih, bias_hh = lstm.parameters()
    return (bias_ih + bias_hh).detach().chunk(4)


@given(sizes, horizons)
def test_forget_one_and_forget_log_set_the_forget_bias(hidden: int, T: int) -> None:
    biases_of: dict[LSTMInit, float] = {"forget_one": 1.0, "forget_log": math.log(T)}
    for init, value in biases_of.items():
        _, b_f, _, _ = biases(LSTM(2, hidden, init=init, horizon=T))
        torch.testing.assert_close(b_f, torch.full((hidden,), value))


@given(sizes, horizons)
def test_chrono_biases_are_in_range_and_opposite(hidden: int, T: int) -> None:
    b_i, b_f, _, _ = biases(LSTM(2, hidden, init="chrono", horizon=T))
    assert torch.equal(b_i, -b_f)
    assert b_f.min() >= 0
    assert b_f.max() <= math.log(T - 1) + 1e-5


def test_chrono_draws_time_constants_uniformly() -> None:
    _, b_f, _, _ = biases(LSTM(1, 4000, init="chrono", horizon=101))
    u = b_f.exp().sort().values
    assert (u - torch.linspace(1, 100, 4000)).abs().max() < 5  # far above Kolmogorov–Smirnov's 2.1 at one in twenty


@pytest.mark.parametrize("init", LSTM_INITIALISERS)
def test_other_parameters_are_those_of_torch(init: LSTMInit) -> None:
    torch.manual_seed(3)
    plain = LSTM(4, 30)
    torch.manual_seed(3)
    named = LSTM(4, 30, init=init, horizon=50)
    assert torch.equal(plain.weight_ih_l0, named.weight_ih_l0)
    assert torch.equal(plain.weight_hh_l0, named.weight_hh_l0)
    assert all(map(torch.equal, biases(plain)[2:], biases(named)[2:]))


@pytest.mark.parametrize("T", [2, 20, 10**6])
def test_update_log_sets_the_update_bias_and_nothing_else(T: int) -> None:
    torch.manual_seed(3)
    plain = GRU(4, 30)
    torch.manual_seed(3)
    gru = GRU(4, 30, init="update_log", horizon=T)
    b_r, b_z, b_n = (gru.bias_ih_l0 + gru.bias_hh_l0).chunk(3)
    plain_b_r, _, plain_b_n = (plain.bias_ih_l0 + plain.bias_hh_l0).chunk(3)
    torch.testing.assert_close(b_z, torch.full((30,), math.log(T)))
    assert torch.equal(b_r, plain_b_r)
    assert torch.equal(b_n, plain_b_n)
    assert torch.equal(gru.weight_hh_l0, plain.weight_hh_l0)


@given(sizes)
def test_orthogonal_recurrent_matrix(hidden: int) -> None:
    W = RNN(2, hidden, init="orthogonal").weight_hh_l0.detach()
    torch.testing.assert_close(W @ W.T, torch.eye(hidden), rtol=0, atol=1e-5)


def test_identity_recurrent_matrix_and_zero_biases() -> None:
    rnn = RNN(2, 7, init="identity", nonlinearity="relu")
    assert torch.equal(rnn.weight_hh_l0, torch.eye(7))
    assert not rnn.bias_ih_l0.any()
    assert not rnn.bias_hh_l0.any()
    assert rnn.weight_ih_l0.all()


@settings(max_examples=20)
@given(st.floats(1.1, 6), st.sampled_from([-1, 1]))
def test_a_latch_keeps_its_sign_up_to_the_bound(gain: float, sign: int) -> None:
    bound = math.sqrt(gain * (gain - 1)) - math.acosh(math.sqrt(gain))
    for size, kept in ((0.98, True), (1.02, False)):
        rnn = RNN(1, 1, init="latch", gain=gain).double()
        nn.init.ones_(rnn.weight_ih_l0)
        inputs = torch.full((4000, 1, 1), -sign * size * bound, dtype=torch.float64)
        _, h = rnn(inputs, torch.full((1, 1, 1), float(sign), dtype=torch.float64))
        assert (h.sign() == sign).all() == kept


def test_latch_draws_its_inputs_and_has_no_biases() -> None:
    rnn = RNN(9, 50, init="latch", gain=2.5, input_scale=0.3)
    assert torch.equal(rnn.weight_hh_l0, 2.5 * torch.eye(50))
    assert 0.29 < rnn.weight_ih_l0.max() <= 0.3
    assert -0.3 <= rnn.weight_ih_l0.min() < -0.29
    assert not rnn.bias_ih_l0.any()
    assert not rnn.bias_hh_l0.any()


@pytest.mark.parametrize(("argument", "message"), [({"gain": 1.0}, "more than 1"), ({"input_scale": 0.0}, "above 0")])
def test_a_latch_that_cannot_hold_is_refused(argument: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RNN(2, 3, init="latch", **argument)  # type: ignore[arg-type]


@pytest.mark.parametrize("initialise", [forget_log, chrono])
def test_nn_lstm_can_be_initialised(initialise: Callable[..., None]) -> None:
    lstm = nn.LSTM(3, 8)
    initialise(*lstm.parameters(), horizon=2)
    _, b_f, _, _ = biases(lstm)
    value = math.log(2) if initialise is forget_log else 0.0  # chrono at T = 2: log U(1, 1)
    torch.testing.assert_close(b_f, torch.full((8,), value))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in lstm.parameters())
