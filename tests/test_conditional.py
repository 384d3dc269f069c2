"""The class-conditional GAN: its layers, training, resuming, and what is refused."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conditional_networks import Shades, generator, shades_of
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from callbacks import GenerativeMetrics, ImageGrid
from datamodules import MNISTDataModule
from lightning_modules import GAN
from lightning_modules.batches import labels_of
from metrics.fid import permuted
from networks.conditional import ConditionalBatchNorm, ProjectionHead, class_weights, labels_in_turn
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.registry import from_spec, to_spec
from networks.sampling import BATCH, sample

Fit = Callable[..., Trainer]

ADAM = partial(torch.optim.Adam, lr=1e-3)
FIXED = partial(torch.optim.SGD, lr=0.0)


def gan(**arguments: Any) -> GAN:
    torch.manual_seed(0)
    networks = MLPConvGenerator(3, [4, 8], 2, classes=10), PixelUnshuffleDiscriminator(2, 4, classes=10)
    return GAN(*networks, **{"generator_optimizer": ADAM, "discriminator_optimizer": ADAM, **arguments})


# Networks


def test_batchnorm_has_a_gain_and_a_bias_for_each_class() -> None:
    layer, x, labels = ConditionalBatchNorm(4, 3), torch.randn(6, 4), torch.tensor([2, 0, 1, 1, 2, 0])
    torch.testing.assert_close(layer(x, labels), F.batch_norm(x, None, None, training=True))
    nn.init.normal_(layer.gain)
    nn.init.normal_(layer.bias)
    by_hand = [layer.gain[y] * row + layer.bias[y] for y, row in zip(labels, layer.norm(x), strict=True)]
    torch.testing.assert_close(layer(x, labels), torch.stack(by_hand))


def test_discriminator_adds_the_projection_of_the_class() -> None:
    discriminator, images, labels = (
        PixelUnshuffleDiscriminator(2, 4, classes=3),
        torch.randn(5, 1, 28, 28),
        [0, 2, 1, 1, 0],
    )
    plain = PixelUnshuffleDiscriminator(2, 4)
    weights = discriminator.state_dict()
    embedding = weights.pop("layers.9.embedding")
    plain.load_state_dict(weights)
    features: list[Tensor] = []
    plain.layers[-1].register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    expected = plain(images) + features[0].mul(embedding[labels]).sum(1) / 4**0.5
    torch.testing.assert_close(discriminator(images, torch.tensor(labels)), expected)


def test_other_layers_start_from_the_bits_of_the_unconditional_networks() -> None:
    for make in (partial(MLPConvGenerator, 3, [4, 8]), PixelUnshuffleDiscriminator):
        networks = []
        for classes in (0, 5):
            torch.manual_seed(1)
            networks.append(make(classes=classes))
        for plain, conditional in zip(*(network.layers for network in networks), strict=True):
            if not isinstance(conditional, ConditionalBatchNorm):
                shared = conditional.state_dict()
                assert all(torch.equal(weight, shared[name]) for name, weight in plain.state_dict().items())


@pytest.mark.parametrize("network", [generator(26), PixelUnshuffleDiscriminator(2, 4, classes=26)])
def test_spec_holds_the_number_of_classes(network: nn.Module) -> None:
    again = from_spec(json.loads(json.dumps(to_spec(network))), nn.Module)
    assert (again.classes, str(again)) == (26, str(network))


def test_weights_of_classes_average_gains_biases_and_projections() -> None:
    layers = generator().eval(), PixelUnshuffleDiscriminator(2, 4, classes=10)
    for network, x in zip(layers, (torch.randn(2, 3), torch.randn(2, 1, 28, 28)), strict=True):
        labels = torch.tensor([3, 8])
        torch.testing.assert_close(network(x, F.one_hot(labels, 10).float()), network(x, labels))
        mixed, tables = copy.deepcopy(network), ("gain", "bias", "embedding")
        for layer in mixed.modules():
            for name in tables if isinstance(layer, ConditionalBatchNorm | ProjectionHead) else ():
                table = getattr(layer, name, torch.empty(0))
                if table.dim() == 2 and len(table) == 10:
                    table.data[0] = 0.25 * table.data[3] + 0.75 * table.data[8]
        between = torch.zeros(2, 10)
        between[:, 3], between[:, 8] = 0.25, 0.75
        torch.testing.assert_close(network(x, between), mixed(x, torch.tensor([0, 0])))


def test_samples_without_labels_are_of_all_classes_in_turn() -> None:
    n = BATCH + 25
    assert shades_of(sample(Shades(), torch.randn(n, 3))) == [k % 10 for k in range(n)]
    assert shades_of(sample(Shades(), torch.randn(3, 3), torch.tensor([7, 7, 2]))) == [7, 7, 2]
    assert labels_in_turn(MLPGenerator(), 5) == class_weights(MLPGenerator(), 5) == ()


# Training


class Watch(Callback):
    """Keeps the labels of each batch, and those that both networks are called with."""

    def __init__(self, module: GAN) -> None:
        self.batches: list[Tensor] = []
        self.seen: dict[str, list[Tensor]] = {"generator": [], "discriminator": []}
        for name, calls in self.seen.items():
            getattr(module, name).register_forward_pre_hook(lambda _, inputs, calls=calls: calls.append(inputs[1]))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.labels)


@pytest.mark.parametrize(
    ("arguments", "passes"),
    [
        ({}, [2, 1]),
        ({"loss": "relativistic"}, [2, 1, 1]),
        ({"r1": 1.0, "r2": 1.0}, [1, 1, 1]),
        ({"loss": "wasserstein", "gradient_penalty": 10.0}, [2, 1, 1]),
    ],
)
def test_both_networks_get_the_labels_of_the_batch(fit: Fit, arguments: dict[str, Any], passes: list[int]) -> None:
    module = gan(**arguments)
    watch = Watch(module)
    fit(module, watch, max_steps=2, limit_val_batches=0)
    assert len(torch.cat(watch.batches).unique()) > 5
    assert all(map(torch.equal, watch.seen["generator"], watch.batches))
    expected = [labels.repeat(times) for labels in watch.batches for times in passes]
    assert all(map(torch.equal, watch.seen["discriminator"], expected))
    assert len(watch.seen["discriminator"]) == len(expected)


def test_gradients_are_those_of_conditional_loss_and_penalties(fit: Fit) -> None:
    module = gan(r1=0.7, r2=0.4, generator_optimizer=FIXED, discriminator_optimizer=FIXED)
    G, D = copy.deepcopy(module.generator), copy.deepcopy(module.discriminator)
    images: list[Tensor] = []
    watch = Watch(module)
    module.discriminator.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0].detach().clone()))
    fit(module, watch, max_steps=1, limit_val_batches=0)
    labels, real = watch.batches[0], images[0].requires_grad_()
    fake = G(module.sample_noise(8, "train", 0), labels)
    detached = fake.detach().requires_grad_()
    d_loss = F.softplus(-D(real, labels)).mean() + F.softplus(D(detached, labels)).mean()
    for weight, seen in ((0.7, real), (0.4, detached)):
        (gradient,) = torch.autograd.grad(D(seen, labels).sum(), seen, create_graph=True)
        d_loss = d_loss + weight / 2 * gradient.flatten(1).square().sum(1).mean()
    g_loss = F.softplus(-D(fake, labels)).mean()
    for loss, trained, network in ((d_loss, module.discriminator, D), (g_loss, module.generator, G)):
        gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        for (name, ours), by_hand in zip(trained.named_parameters(), gradients, strict=True):
            torch.testing.assert_close(ours.grad, by_hand, msg=name)


def test_validation_and_prediction_have_classes(plain_trainer: Callable[..., Trainer]) -> None:
    module = GAN(Shades(), PixelUnshuffleDiscriminator(2, 4, classes=10))
    module.seed = 3
    watch = Watch(module)
    data = MNISTDataModule(source="packaged", batch_size=64, predict_size=100)
    plain_trainer().validate(module, datamodule=data, verbose=False)
    loader: Any = data.val_dataloader()
    labels = [batch.labels for batch in loader]
    assert all(map(torch.equal, watch.seen["generator"], labels))
    assert all(map(torch.equal, watch.seen["discriminator"][::2], labels))
    predicted: Any = plain_trainer().predict(module, datamodule=data)
    assert [shades_of(images) for images in predicted] == [
        [k % 10 for k in of_batch] for of_batch in (range(64), range(64, 100))
    ]


def test_evaluations_have_classes_as_frequent_as_the_data(fit: Fit, digits: MNISTDataModule) -> None:
    digits.setup()
    splits, network, seen = digits.splits, Shades(), list[Tensor]()
    few = splits.train[(splits.labels[splits.train] < 3) | (torch.arange(len(splits.train)) % 4 == 0)]
    digits._splits = splits._replace(train=few)
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    metrics = GenerativeMetrics(every_n_batches=2, samples=200, final_samples=300)
    fit(GAN(network, PixelUnshuffleDiscriminator(2, 4, classes=10)), metrics, max_steps=2, limit_val_batches=0)
    labels = torch.cat([each for each in seen if len(each) == BATCH])
    random = splits.labels[permuted(few)]
    assert torch.equal(labels, torch.cat([random[:200], random[:300]]))
    counts = random[:300].bincount(minlength=10)
    assert counts[:3].min() > 2 * counts[3:].max()


def test_resumed_run_has_the_same_bits(fit: Fit, tmp_path: Path) -> None:
    arguments = {"r1": 1.0, "r2": 1.0, "d_reg_interval": 2, "ema_decay": 0.9}
    whole, first, second = (gan(**arguments) for _ in range(3))
    pictures = []
    for module, steps, resume in ((whole, 6, None), (first, 3, None), (second, 6, tmp_path / "3.ckpt")):
        fit(module, ImageGrid(6), max_steps=steps, ckpt_path=resume).save_checkpoint(tmp_path / f"{steps}.ckpt")
        pictures.append((tmp_path / "images" / "step_000006.png").read_bytes())
    assert pictures[0] == pictures[2]
    one, other = whole.state_dict(), second.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], weight) for name, weight in first.state_dict().items())
    loaded = GAN.load_from_checkpoint(tmp_path / "6.ckpt")
    assert loaded.classes == 10


IMAGES, LABELS = torch.zeros(4, 1, 28, 28), torch.tensor([3, 0, 9, 9])


@pytest.mark.parametrize(
    "batch", [(IMAGES, LABELS), [LABELS.int(), IMAGES], {"image": IMAGES, "digit": LABELS, "name": "abcd"}]
)
def test_labels_are_found_in_a_batch(batch: Any) -> None:
    (labels,) = labels_of(batch, 10)
    assert torch.equal(labels, LABELS)
    assert labels_of(batch, 0) == ()


class Embedding(nn.Module):
    """A generator that takes labels, and no weights of classes."""

    latent_dim, classes = 3, 10

    def __init__(self) -> None:
        super().__init__()
        self.of_label = nn.Embedding(10, 784)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        images: Tensor = self.of_label(labels).view(-1, 1, 28, 28).tanh()
        return images


class Rows(Embedding):
    """One that looks the labels up itself."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        images: Tensor = self.of_label.weight[labels].view(-1, 1, 28, 28)
        return images


class NoLabels(Embedding):
    """One that doesn't take the labels of its classes."""

    def forward(self, z: Tensor) -> Tensor:  # type: ignore[override]
        return z


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Embedding, r"Embedding takes labels, but no weights of classes, .* see networks.conditio"),
        (Rows, r"Rows takes labels, but no weights of classes, .* see networks.conditio"),
        (NoLabels, r"NoLabels doesn't accept the input shape \(2, 3\) with labels: "),
    ],
)
def test_generators_take_labels_and_weights_of_classes(network: type[nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GAN(network(), PixelUnshuffleDiscriminator(2, 4, classes=10))


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (IMAGES, "class-conditional, but the batches have no labels; let the data make pairs of images and labels, or"),
        ([IMAGES], "the batches have no labels"),
        ((IMAGES, F.one_hot(LABELS)), "the batches have no labels"),
        ((IMAGES, LABELS.float()), "the batches have no labels"),
        ((IMAGES, LABELS + 1), "a label is 10, but the networks have the classes 0 to 9; write the number of the data"),
        ({"image": IMAGES, "digit": -LABELS}, "a label is -9, but the networks have the classes 0 to 9; write the num"),
    ],
)
def test_labels_that_do_not_fit_are_refused(batch: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        labels_of(batch, 10)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLPConvGenerator(classes=-1), "classes is -1; write the number of the data's classes, or 0 for none"),
        (lambda: PixelUnshuffleDiscriminator(classes=-2), "classes is -2; write the number"),
        (
            lambda: generator(normalisation="layer"),
            "classes is 10, and the class enters by BatchNorm, which needs norm",
        ),
        (
            lambda: MLPConvGenerator(3, [4], classes=10),
            "needs normalisation: batch and two widths or more; write these",
        ),
        (
            lambda: GAN(generator(), PixelUnshuffleDiscriminator(2, 4)),
            "the generator has 10 classes, but the discriminator 0; write the same `classes` for both, 0 for an uncond",
        ),
        (lambda: GAN(generator(), PixelUnshuffleDiscriminator(2, 4, classes=9)), "10 classes, but the discriminator 9"),
        (lambda: GAN(generator(), MLPDiscriminator([4])), "has 10 classes, but the discriminator 0"),
        (lambda: GAN(MLPGenerator(3, [4]), PixelUnshuffleDiscriminator(2, 4, classes=3)), "0 classes, but the discrim"),
    ],
)
def test_networks_and_classes_that_do_not_fit_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
