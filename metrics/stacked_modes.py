"""Mode coverage on Stacked MNIST: how many of its 1,000 modes are generated, and how evenly.

The protocol is that of Lin et al. 2018 (PacGAN, https://arxiv.org/abs/1712.04086): 26,000 images; a classifier reads
the digit of each channel; a mode is covered if at least one image shows it; the KL divergence of the images' histogram
from the uniform distribution, in nats. KL depends on the number of images, and isn't 0 for real stacks: 26,000 leave a
random histogram uneven (about 999 / 52,000 = 0.019), and MNIST has more 1s than 5s (0.005). So that of real stacks,
`real_modes`, stands beside it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from common.seeding import latent_noise, rng
from metrics.features import Classifier, Splits, features_and_logits, scaled
from metrics.fid import permuted
from networks.sampling import sample

SAMPLES = 26_000
CHANNELS = 3
MODES = 1000
AT_ONCE = 2000


def modes_of(classifier: Classifier, images: Float[Tensor, "n channels height width"]) -> Int[Tensor, " n"]:
    """Returns the mode of each image in [−1, 1]: the digits of its channels, read as a decimal number.

    Raises:
        ValueError: when the classifier doesn't take one channel of the images.
    """
    _, logits = features_and_logits(classifier, images.flatten(0, 1).unsqueeze(1))
    return modes_of_digits(logits.argmax(dim=1).view(images.shape[:2]))


def modes_of_digits(digits: Int[Tensor, "n 3"]) -> Int[Tensor, " n"]:
    """Returns the digits of each stack as one decimal number, its mode."""
    return (digits * digits.new_tensor([100, 10, 1])).sum(dim=1)


def mode_numbers(modes: Int[Tensor, " n"]) -> dict[str, float]:
    """Returns modes_covered, the number of different modes, and kl, the divergence from a uniform histogram in nats."""
    shares = modes.bincount(minlength=MODES).double() / len(modes)
    return {
        "modes_covered": float((shares > 0).sum()),
        "kl": float(torch.special.xlogy(shares, shares * len(shares)).sum()),
    }


def evaluate_modes(generator: nn.Module, classifier: Classifier, samples: int, seed: int) -> dict[str, float]:
    """Returns the `mode_numbers` of generated images, a function of the generator and the seed.

    The images are sampled and classified some at a time; 26,000 of them would take 250 MB.
    """
    noise = latent_noise(generator, samples, rng(seed, "stacked modes"))
    modes = [modes_of(classifier, sample(generator, some)) for some in noise.split(AT_ONCE)]
    return mode_numbers(torch.cat(modes))


def real_modes(classifier: Classifier, splits: Splits, split: str, samples: int) -> dict[str, float]:
    """Returns the `mode_numbers` of random stacks of a split's digits, read by the same classifier, as `…_real`."""
    images = splits.images[permuted(getattr(splits, split))][:, :1]
    labels = features_and_logits(classifier, scaled(images)).logits.argmax(dim=1)
    drawn = torch.randint(len(labels), (samples, CHANNELS), generator=rng(0, "real stacks"))
    return {f"{name}_real": value for name, value in mode_numbers(modes_of_digits(labels[drawn])).items()}
