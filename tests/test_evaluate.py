"""All metrics of one generator, on generators whose images are known."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from common.seeding import latent_noise, rng
from datamodules import MNISTDataModule
from metrics.evaluate import Evaluation, RealImages, Reference, evaluate, summary
from metrics.features import CLASSIFIERS, Splits, features_and_logits, load_classifier, scaled
from metrics.fid import permuted
from networks.classifiers import DigitReader
from networks.sampling import BATCH, finite_samples, sample

OF_REAL = ("kid", *(f"class_{digit}" for digit in range(10)), "modes_covered", "confidence", "precision", "recall")
"""What is also measured on real images."""


class Digits(NamedTuple):
    images: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor


class Memorising(nn.Module):
    """A generator that returns given images, each about equally often."""

    latent_dim = 3

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = nn.Parameter(images, requires_grad=False)

    def forward(self, noise: Tensor) -> Tensor:
        return self.images[(noise[:, 0].double().erf().add(1).div(2) * len(self.images)).long() % len(self.images)]


@pytest.fixture(scope="module")
def digits() -> Digits:
    images = torch.randint(0, 256, (300, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Digits(images, torch.arange(200), torch.arange(200, 240), torch.arange(240, 300))


@pytest.fixture
def real(digits: Digits) -> RealImages:
    return RealImages(DigitReader(hidden_size=4).eval(), digits)


def test_sampling_keeps_the_order_and_returns_float32() -> None:
    network = nn.Sequential(nn.Linear(2, 784), nn.Unflatten(1, (1, 28, 28)), nn.Tanh())
    noise = torch.randn(2 * BATCH + 3, 2)
    torch.testing.assert_close(sample(network, noise), network(noise))
    assert [len(batch) for batch in finite_samples(network, noise)] == [BATCH, BATCH, 3]
    assert not sample(network, noise).requires_grad
    assert sample(network.bfloat16(), noise).dtype == torch.float32


def test_finite_samples_refuses_nan_pixels() -> None:
    with pytest.raises(ValueError, match="images hold NaN or infinite pixels; its training has failed"):
        list(finite_samples(Memorising(torch.full((1, 1, 28, 28), torch.nan)), torch.zeros(1, 3)))


def test_copies_have_a_small_nearest_neighbour_distance(digits: Digits, real: RealImages) -> None:
    copying = evaluate(Memorising(scaled(digits.images[digits.train])), real)
    assert copying["nearest_neighbour_distance"] == pytest.approx(0, abs=1e-5)
    assert copying["memorised"] == 1
    assert copying["real_nearest_neighbour_distance"] > 5
    unseen = evaluate(Memorising(scaled(digits.images[digits.test])), real)
    assert unseen["nearest_neighbour_distance"] == pytest.approx(copying["real_nearest_neighbour_distance"], rel=0.05)
    assert unseen["memorised"] <= 0.05
    assert unseen["fid"] < unseen["fid_real"]
    assert unseen["precision"] == 1


def test_a_minority_of_copies_counts_as_memorised(digits: Digits, real: RealImages) -> None:
    unseen, seen = (scaled(digits.images[rows]) for rows in (digits.test, digits.train))
    some = evaluate(Memorising(torch.cat([unseen, seen[: len(unseen) // 2]])), real)
    assert 0.2 < some["memorised"] < 0.5
    assert some["nearest_neighbour_distance"] > real.close_distance, "the median doesn't show it"


def test_evaluation_depends_on_the_seed_alone(digits: Digits, real: RealImages) -> None:
    generator = Memorising(scaled(digits.images))
    first = evaluate(generator, real, seed=1)
    torch.manual_seed(7)
    assert evaluate(generator, real, seed=1) == first
    assert evaluate(generator, real, seed=2) != first


@pytest.mark.parametrize(
    ("samples", "reference", "taken", "sets"),
    [(10_000, "test", 60, 3), (10_000, "validation", 40, 5), (20, "test", 20, 10), (101, "test", 60, 3)],
)
def test_samples_are_limited_by_the_smallest_split(
    digits: Digits, samples: int, reference: Reference, taken: int, sets: int
) -> None:
    real = RealImages(DigitReader(hidden_size=4).eval(), digits, samples, reference)
    found = evaluate(Memorising(scaled(digits.images)), real)
    assert found["fid_samples"] == found["memorisation_samples"] == taken
    assert found["fid_real_sets"] == sets


def test_validation_as_reference_ignores_test_images(digits: Digits) -> None:
    classifier = DigitReader(hidden_size=4).eval()
    held_out = RealImages(classifier, digits, reference="validation")
    without_test = RealImages(classifier, digits._replace(test=digits.test[:0]), reference="validation")
    generator = Memorising(scaled(digits.images[digits.validation]))
    found = evaluate(generator, held_out)
    assert found == evaluate(generator, without_test)
    assert found["precision"] == 1
    assert found["memorised"] < 0.1, "the generator has not seen the held-out images"


def test_fid_is_the_mean_of_draws_and_of_real_sets(digits: Digits, real: RealImages) -> None:
    generator = Memorising(scaled(digits.images))
    three, two = evaluate(generator, real, draws=3), evaluate(generator, real, draws=2)
    third = features_and_logits(real.classifier, sample(generator, latent_noise(generator, 60, rng(0, "report", 2))))
    fids = torch.tensor([two["fid"]] * 2 + [real.frechet_distance(third.features)["fid"]], dtype=torch.float64)
    assert three["fid"] == pytest.approx(float(fids.mean()))
    assert three["fid_over_real"] == three["fid"] / three["fid_real"]
    assert three["fid_std"] != two["fid_std"] > 0
    assert "fid_std" not in evaluate(generator, real)
    assert (three["fid_draws"], three["recall"]) == (3, two["recall"])
    reals = torch.tensor(real.frechet_distance.fids_real, dtype=torch.float64)
    assert (three["fid_real"], three["fid_real_std"]) == pytest.approx((float(reals.mean()), float(reals.std())))


def test_numbers_of_real_images_are_those_of_a_generator_that_copies_them(digits: Digits) -> None:
    real = RealImages(DigitReader(hidden_size=4).eval(), digits, samples=60)
    found = evaluate(Memorising(scaled(digits.images)), real)
    first = real.compare(scaled(digits.images[permuted(digits.train)[:60]]))
    for name in OF_REAL:
        assert found[f"{name}_real"] == first[name]
    assert set(found) - set(first) > {"class_9_real", "precision_real", "recall_real"}


def test_subsets_are_random_and_always_the_same() -> None:
    rows = torch.arange(1000) + 5000
    assert torch.equal(permuted(rows), permuted(rows))
    assert torch.equal(permuted(rows).sort().values, rows)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert 5400 < permuted(rows)[:300].double().mean() < 5600
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_names_and_summary(digits: Digits, real: RealImages) -> None:
    found: Evaluation = evaluate(Memorising(scaled(digits.images)), real)
    assert list(found) == [
        *("fid", "fid_real", "fid_over_real", "fid_samples", "kid"),
        *(f"class_{digit}" for digit in range(10)),
        *("modes_covered", "confidence", "precision", "recall", "fid_draws", "fid_real_std", "fid_real_sets"),
        *(f"{name}_real" for name in OF_REAL),
        *("nearest_neighbour_distance", "real_nearest_neighbour_distance", "memorised", "memorisation_samples"),
    ]
    line = summary(found)
    assert f"FID {found['fid']:.3g} with 60 samples, {found['fid_over_real']:.1f} times the real-data FID" in line
    assert f"recall {found['recall']:.2f} ({found['recall_real']:.2f})" in line
    assert "\n" not in line


def test_a_generator_of_nan_pixels_is_evaluated(real: RealImages) -> None:
    found = evaluate(Memorising(torch.full((5, 1, 28, 28), torch.nan)), real)
    assert torch.tensor([found["fid"], found["kid"], found["nearest_neighbour_distance"]]).isnan().all()
    assert found["modes_covered"] == found["precision"] == found["recall"] == 0


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_shipped_classifiers_separate_real_digits_from_noise(name: str) -> None:
    data = MNISTDataModule(source="packaged")
    data.setup()
    assert isinstance(data.splits, Splits)
    real = RealImages(load_classifier(name), data.splits, samples=300)
    good = evaluate(Memorising(scaled(data.splits.images[data.splits.validation])), real)
    assert good["fid_over_real"] == pytest.approx(1, abs=0.5)
    assert good["modes_covered"] == 10
    assert good["confidence"] > 0.95
    assert min(good["precision"], good["recall"], good["precision_real"], good["recall_real"]) > 0.7
    noise = evaluate(Memorising(torch.rand(300, 1, 28, 28) * 2 - 1), real)
    assert noise["fid_over_real"] > 10
    assert noise["kid"] > 20 * abs(good["kid"])
    assert noise["recall"] < 0.1
