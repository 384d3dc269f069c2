"""All the numbers of one generator, on planted generators."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from datamodules import MNISTDataModule
from metrics.evaluate import RealImages, SplitDigits, report
from metrics.features import CLASSIFIERS, features_and_logits, load_classifier, scaled
from networks.classifiers import DigitReader
from networks.sampling import draw


class Digits(NamedTuple):
    images: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor


class Remembering(nn.Module):
    """A generator that gives back images it was given, each about as often."""

    latent_dim = 3

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = nn.Parameter(images, requires_grad=False)

    def forward(self, noise: Tensor) -> Tensor:
        return self.images[(noise[:, 0].double().erf().add(1).div(2) * len(self.images)).long() % len(self.images)]


@pytest.fixture
def some_digits() -> Digits:
    images = torch.randint(0, 256, (300, 28, 28), dtype=torch.uint8)
    return Digits(images, torch.arange(200), torch.arange(200, 240), torch.arange(240, 300))


@pytest.fixture
def classifier() -> DigitReader:
    return DigitReader(hidden_size=4).eval()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_an_impression_is_what_the_judge_says(name: str) -> None:
    classifier, images = load_classifier(name), torch.rand(103, 1, 28, 28) * 2 - 1
    features, logits = features_and_logits(classifier, images)
    torch.testing.assert_close(features, classifier.features(images).double(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, classifier(images), atol=1e-4, rtol=1e-4)


def test_real_images_are_scaled_to_the_range_of_generated_ones() -> None:
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8)[:, None, None].expand(3, 28, 28)
    assert scaled(pixels)[:, 0, 5, 5].tolist() == pytest.approx([-1, 1, -0.6])


def test_images_are_drawn_in_the_order_of_the_noise() -> None:
    network = nn.Sequential(nn.Linear(2, 784), nn.Unflatten(1, (1, 28, 28)), nn.Tanh())
    noise = torch.randn(230, 2)
    torch.testing.assert_close(draw(network, noise), network(noise))
    assert draw(network.bfloat16(), noise).dtype == torch.float32


def test_copies_are_seen_as_such(some_digits: Digits, classifier: DigitReader) -> None:
    # Of the validation images, on which a GAN may have been trained as well.
    copying = Remembering(scaled(some_digits.images[some_digits.validation]))
    found = report(copying, classifier, some_digits)
    assert found.nearest == pytest.approx(0, abs=1e-5)
    assert found.real_nearest_neighbour_distance > 5
    unseen = report(Remembering(scaled(some_digits.images[some_digits.test])), classifier, some_digits)
    assert unseen.nearest == pytest.approx(found.real_nearest_neighbour_distance, rel=0.05)
    assert unseen.fid.value < unseen.fid.floor
    assert unseen.precision == 1


def test_a_generator_that_copies_some_images_only_is_seen_too(some_digits: Digits, classifier: DigitReader) -> None:
    real = RealImages(classifier, some_digits)
    unseen, seen = (scaled(some_digits.images[rows]) for rows in (some_digits.test, some_digits.train))
    some = real.report(Remembering(torch.cat([unseen, seen[: len(unseen) // 2]])))
    assert 0.2 < some.memorised < 0.5
    assert some.nearest > real.very_near, "the median hides it"
    assert real.report(Remembering(unseen)).memorised <= 0.05


def test_a_report_depends_on_the_seed_alone(some_digits: Digits, classifier: DigitReader) -> None:
    real = RealImages(classifier, some_digits)
    generator = Remembering(scaled(some_digits.images))
    first = real.report(generator, seed=1)
    torch.manual_seed(7)
    assert report(generator, classifier, some_digits, seed=1) == first
    assert real.report(generator, seed=1) == first
    assert real.report(generator, seed=2) != first


def test_the_noise_is_standard_normal(some_digits: Digits, classifier: DigitReader) -> None:
    seen = []

    class Listening(Remembering):
        def forward(self, noise: Tensor) -> Tensor:
            seen.append(noise)
            return super().forward(noise)

    report(Listening(scaled(some_digits.images)), classifier, some_digits, samples=50, seed=3)
    noise = torch.cat(seen)
    assert noise.shape == (50, 3)
    assert abs(noise.mean()) < 0.3
    assert noise.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("samples", "taken"), [(10_000, 60), (20, 20)])
def test_at_most_as_many_samples_as_there_are_real_images(
    some_digits: Digits, classifier: DigitReader, samples: int, taken: int
) -> None:
    found = report(Remembering(scaled(some_digits.images)), classifier, some_digits, samples=samples)
    assert found.fid.samples == found.memorisation_samples == taken


def test_numbers_have_names_and_there_is_a_line(some_digits: Digits, classifier: DigitReader) -> None:
    found = report(Remembering(scaled(some_digits.images)), classifier, some_digits)
    assert list(found.numbers()) == [
        *("fid", "fid_real", "fid_over_real", "fid_samples", "kid"),
        *(f"class_{digit}" for digit in range(10)),
        *("modes_covered", "confidence", "precision", "recall", "nearest", "real_nearest_neighbour_distance"),
        *("memorised", "memorisation_samples"),
    ]
    assert found.numbers()["precision"] == found.precision
    line = str(found)
    assert f"FID {found.fid.value:.1f} with 60 samples, {found.fid.ratio:.1f} times the floor" in line
    assert "\n" not in line


def test_a_generator_of_nothing_is_measured_too(some_digits: Digits, classifier: DigitReader) -> None:
    found = report(Remembering(torch.full((5, 1, 28, 28), torch.nan)), classifier, some_digits)
    assert torch.tensor([found.fid.value, found.kid, found.nearest]).isnan().all()
    assert found.shares == [0] * 10
    assert (found.precision, found.recall) == (0, 0)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_shipped_judges_tell_real_digits_from_noise(name: str, digits: MNISTDataModule) -> None:
    digits.setup()
    assert isinstance(digits.digits, SplitDigits)
    real = RealImages(load_classifier(name), digits.digits, samples=300)
    good = real.report(Remembering(scaled(digits.digits.images[digits.digits.validation])))
    assert good.fid.ratio == pytest.approx(1, abs=0.5)
    assert min(good.shares) > 0.05
    assert good.confidence > 0.95
    assert min(good.precision, good.recall) > 0.7
    noise = real.report(Remembering(torch.rand(300, 1, 28, 28) * 2 - 1))
    assert noise.fid.ratio > 10
    assert noise.kid > 20 * abs(good.kid)
    assert noise.recall < 0.1
