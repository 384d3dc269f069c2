"""What is said when a game goes wrong, and when nothing is."""

from typing import Any

import pytest

from callbacks.gan_monitor import GANMonitor

EVEN = [0.1] * 10
PERFECT = {"train/d_accuracy_real": 1.0, "train/d_accuracy_fake": 1.0}


def without(*digits: int) -> list[float]:
    return [0.0 if digit in digits else 1 / (10 - len(digits)) for digit in range(10)]


def test_a_healthy_game_is_silent() -> None:
    alarms = GANMonitor()
    healthy = {"train/d_loss": 0.6, "train/g_loss": 2.0, "train/d_gradient_norm": 0.0, "train/g_gradient_norm": 40.0}
    for step in range(10, 20_000, 10):
        assert alarms.hear(step, {**healthy, "train/d_accuracy_real": 1.0, "train/d_accuracy_fake": 0.98}) == []
    for step in range(1000, 20_000, 1000):
        assert alarms.see(step, EVEN) == []


def test_a_module_that_logs_nothing_is_not_missed() -> None:
    alarms = GANMonitor(perfect_for=1)
    assert [words for step in range(50) for words in alarms.hear(step, {"train/loss": float("nan")})] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["d_loss", "g_loss", "d_gradient_norm", "g_gradient_norm"])
def test_a_number_that_is_not_finite_is_named_once(name: str, value: float) -> None:
    alarms = GANMonitor()
    (words,) = alarms.hear(1230, {"train/d_loss": 0.5, "train/g_loss": 0.5, f"train/{name}": value})
    assert words.startswith(f"not finite: train/{name} is {value} at batch 1,230, ")
    assert "try a lower learning rate" in words
    assert alarms.hear(1240, {"train/g_loss": value, "train/d_loss": value}) == []


def test_a_perfect_discriminator_is_reported_after_so_many_batches_and_once() -> None:
    alarms = GANMonitor(perfect_for=500)
    steps = range(10, 3000, 10)
    said = {step: words for step in steps for words in alarms.hear(step, PERFECT)}
    assert list(said) == [510]
    assert said[510].startswith("discriminator perfect: from batch 10 to 510 it mistook no image that was looked at")
    assert "(higher) gradient penalty" in said[510]


@pytest.mark.parametrize("name", PERFECT)
def test_one_error_of_the_discriminator_starts_the_count_anew(name: str) -> None:
    alarms = GANMonitor(perfect_for=100)
    readings = dict.fromkeys(range(10, 200, 10), PERFECT) | {90: {**PERFECT, name: 0.99}}
    said = [step for step, numbers in readings.items() for _ in alarms.hear(step, numbers)]
    assert said == []
    assert [step for step in (200, 210) for _ in alarms.hear(step, PERFECT)] == [200]  # 100 batches after 100


def test_a_discriminator_that_is_perfect_again_after_it_erred_for_long_is_reported_again() -> None:
    def said(errors: range) -> list[int]:
        alarms = GANMonitor(perfect_for=100)
        erring = {**PERFECT, "train/d_accuracy_fake": 0.97}
        readings = {step: erring if step in errors else PERFECT for step in range(10, 700, 10)}
        return [step for step, numbers in readings.items() for _ in alarms.hear(step, numbers)]

    assert said(range(200, 300)) == [110]
    assert said(range(200, 301)) == [110, 410]


def test_a_reading_without_accuracies_says_nothing_of_them() -> None:
    alarms = GANMonitor(perfect_for=100)
    alarms.hear(10, PERFECT)
    alarms.hear(60, {"train/d_loss": 0.1})
    assert len(alarms.hear(110, PERFECT)) == 1


def test_a_digit_that_has_yet_to_come_is_reported_once_there_was_time() -> None:
    alarms = GANMonitor(evaluations=3)
    said = {step: alarms.see(step, without(4, 9)) for step in (1000, 2000, 3000, 4000, 5000)}
    assert [step for step, words in said.items() if words] == [4000]
    (words,) = said[4000]
    assert words.startswith(
        "digits lost: after batch 4,000 the generator makes hardly any 4 and 9 (each in fewer than 2.0% of"
    )
    assert "(higher) gradient penalty" in words


def test_a_digit_that_is_gone_is_reported_at_once_when_the_beginning_is_over() -> None:
    alarms = GANMonitor(evaluations=3)
    for step, shares in ((1000, without(4)), (2000, without(1, 4, 7)), (3000, EVEN)):
        assert alarms.see(step, shares) == []
    (words,) = alarms.see(4000, without(1, 7))
    assert "hardly any 1 and 7 (each in fewer than 0.5% of" in words
    assert alarms.see(5000, without(2)) == []


def test_digits_that_are_lost_again_after_all_were_alive_for_some_evaluations_are_reported_again() -> None:
    def said(*evaluations: list[float]) -> list[int]:
        alarms = GANMonitor(evaluations=3)
        return [number for number, shares in enumerate(evaluations) for _ in alarms.see(number, shares)]

    collapsed = [1.0] + [0.0] * 9
    assert said(collapsed, EVEN, EVEN, without(5), EVEN, without(5)) == [0]
    assert said(collapsed, EVEN, EVEN, EVEN, without(5), without(5)) == [0, 4]


def test_a_collapse_needs_no_second_look() -> None:
    (words,) = GANMonitor(evaluations=3).see(2000, [0.6, 0.4] + [0.0] * 8)
    assert words.startswith("digits lost: after batch 2,000 the generator makes hardly any 2, 3, 4, 5, 6, 7, 8 and 9")
    assert GANMonitor(evaluations=3).see(2000, [0.4, 0.4, 0.2] + [0.0] * 7) == []


def test_a_digit_may_waver_while_the_game_begins() -> None:
    alarms = GANMonitor(evaluations=3)
    wavering = [0.019, 0.109, *[0.109] * 8]
    assert alarms.see(1000, EVEN) == []
    assert alarms.see(2000, wavering) == []
    assert alarms.see(3000, wavering) == []
    assert len(alarms.see(4000, wavering)) == 1


def test_each_kind_is_said_for_itself() -> None:
    alarms = GANMonitor(perfect_for=1, evaluations=1)
    alarms.see(1, without(3))
    alarms.hear(1, PERFECT)
    said = [*alarms.see(2, without(3)), *alarms.hear(2, {**PERFECT, "train/d_loss": float("nan")})]
    assert [words.partition(":")[0] for words in said] == ["digits lost", "not finite", "discriminator perfect"]


def test_alarms_go_on_where_they_were() -> None:
    def listen(alarms: GANMonitor, batches: range) -> list[str]:
        said = []
        for n in batches:
            accuracies = PERFECT if n % 8 < 4 else {**PERFECT, "train/d_accuracy_real": 0.9}
            said += [*alarms.hear(10 * n, accuracies), *alarms.see(10 * n, EVEN if n % 5 < 2 else without(n % 7))]
        return said

    whole = listen(GANMonitor(perfect_for=30, evaluations=2), range(1, 30))
    assert {words.partition(":")[0] for words in whole} == {"digits lost", "discriminator perfect"}
    assert len(whole) > 4, "each is said anew"
    for stop in range(2, 30):
        first, second = GANMonitor(perfect_for=30, evaluations=2), GANMonitor(perfect_for=30, evaluations=2)
        said = listen(first, range(1, stop))
        second.load_state_dict(first.state_dict())
        assert said + listen(second, range(stop, 30)) == whole


@pytest.mark.parametrize("arguments", [{"perfect_for": 0}, {"evaluations": 0}])
def test_bad_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} is 0; write 1 or more"):
        GANMonitor(**arguments)
