"""A table of samples: what the generator made, which digit a classifier reads there, and how sure it is."""

from lightning.pytorch import LightningModule, Trainer

from callbacks.drawing import shades
from callbacks.generators import sampling_generator, unnoticed
from callbacks.to_loggers import log_table, shows_tables
from common.seeding import latent_noise
from common.seeding import rng as random_numbers
from metrics.features import Classifier, features_and_logits
from networks.sampling import sample

SAMPLES = 64


def log_samples(trainer: Trainer, pl_module: LightningModule, classifier: Classifier, seed: int) -> None:
    """Shows `samples` in every logger that has tables; the noise depends on `seed` alone."""
    if not shows_tables(trainer):
        return
    generator = sampling_generator(pl_module)
    with unnoticed(generator):
        images = sample(generator, latent_noise(generator, SAMPLES, random_numbers(seed, "samples")))
    confidences, digits = features_and_logits(classifier, images).logits.softmax(dim=1).max(dim=1)
    rows = list(zip(shades(images), digits.tolist(), confidences.tolist(), strict=True))
    log_table(trainer, "samples", ("image", "digit", "confidence"), rows)
