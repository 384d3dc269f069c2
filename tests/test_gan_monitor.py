"""When a GAN's training is warned about."""

from dataclasses import asdict

import pytest

from callbacks.gan_monitor import GANMonitor

EVEN = [0.1] * 10
PERFECT = {"train/d_accuracy_real": 1.0, "train/d_accuracy_fake": 1.0}
ERRING = {**PERFECT, "train/d_accuracy_fake": 0.97}


def without(*digits: int) -> list[float]:
    return [0.0 if digit in digits else 1 / (10 - len(digits)) for digit in range(10)]


def warned(monitor: GANMonitor, *histograms: list[float]) -> list[int]:
    """The numbers, from 1, of the evaluations with a warning."""
    return [number for number, shares in enumerate(histograms, 1) if monitor.check_modes(number, shares)]


def test_healthy_training_gives_no_warning() -> None:
    monitor = GANMonitor()
    assert not any(monitor.check_discriminator(step, ERRING) for step in range(10, 20_000, 10))
    assert warned(monitor, *[EVEN] * 20) == []


def test_perfect_discriminator_is_reported_once() -> None:
    monitor = GANMonitor(perfect_for=500)
    found = {step: monitor.check_discriminator(step, PERFECT) for step in range(10, 3000, 10)}
    assert [step for step, message in found.items() if message] == [510]
    assert str(found[510]).startswith("discriminator perfect: from batch 10 to 510 it classified every logged image")


@pytest.mark.parametrize("name", PERFECT)
def test_one_error_restarts_the_count_and_the_warning(name: str) -> None:
    monitor = GANMonitor(perfect_for=100)
    logged = {step: {**PERFECT, name: 0.99} if step in (90, 300) else PERFECT for step in range(10, 600, 10)}
    warned = [step for step, numbers in logged.items() if monitor.check_discriminator(step, numbers)]
    assert warned == [200, 410]


def test_missing_accuracies_are_ignored() -> None:
    monitor = GANMonitor(perfect_for=100)
    assert not any(monitor.check_discriminator(step, {"train/loss": 0.1}) for step in range(0, 500, 10))
    monitor.check_discriminator(10, PERFECT)
    monitor.check_discriminator(60, {"train/d_loss": 0.1})
    assert monitor.check_discriminator(110, PERFECT)


def test_missing_digits_are_reported_after_the_first_evaluations() -> None:
    monitor = GANMonitor(evaluations=3)
    assert [bool(monitor.check_modes(step, without(4, 9))) for step in (1000, 2000, 3000)] == [False] * 3
    message = monitor.check_modes(4000, without(4, 9))
    assert str(message).startswith("modes lost: after batch 4,000 the generator makes hardly any images of 4, 9 (")


def test_missing_classes_have_their_names() -> None:
    names = [*"abcdefghij"]
    message = GANMonitor(evaluations=0).check_modes(1000, without(4, 9), names)
    assert "hardly any images of e, j (" in str(message)


@pytest.mark.parametrize(
    ("histograms", "expected"),
    [
        ([without(4), without(1, 4, 7), EVEN, without(1, 7), without(1, 7)], [4]),  # once
        ([EVEN] * 3 + [without(1), EVEN, without(1)], [4, 6]),  # again once it had come back
        ([EVEN] * 3 + [without(1), without(1, 2)], [4, 5]),  # another one is lost too
        ([EVEN] * 3 + [[0.01, 0.11, *[0.11] * 8]] * 3, []),  # covered before and not below 0.5 %
        ([[0.01, 0.11, *[0.11] * 8]] * 5, [4]),  # never covered
        ([[0.6, 0.4] + [0.0] * 8], [1]),  # a collapse, at once
        ([[0.4, 0.4, 0.2] + [0.0] * 7], []),
    ],
)
def test_lost_digits_are_reported(histograms: list[list[float]], expected: list[int]) -> None:
    assert warned(GANMonitor(evaluations=3), *histograms) == expected


def test_state_continues_where_it_was() -> None:
    def check(monitor: GANMonitor, batches: range) -> list[str | None]:
        found = []
        for n in batches:
            found.append(monitor.check_discriminator(10 * n, PERFECT if n % 8 < 4 else ERRING))
            found.append(monitor.check_modes(10 * n, EVEN if n % 5 < 2 else without(n % 7)))
        return found

    whole = check(GANMonitor(perfect_for=30, evaluations=2), range(1, 30))
    assert {str(message).partition(":")[0] for message in whole} == {"modes lost", "discriminator perfect", "None"}
    for stop in range(2, 30):
        first = GANMonitor(perfect_for=30, evaluations=2)
        found = check(first, range(1, stop))
        second = GANMonitor(**asdict(first))
        assert found + check(second, range(stop, 30)) == whole
