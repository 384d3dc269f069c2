"""The GAN's training step: updates, gradients, noise, moving average, logged values."""

import copy
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim.lr_scheduler import LinearLR, StepLR

from common.seeding import rng
from datamodules import MNISTDataModule
from lightning_modules import GAN
from losses.gan import GAN_LOSSES
from networks.augmentation import translate
from networks.dcgan import DCGANDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]

ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
FIXED = partial(torch.optim.SGD, lr=0.0)


def make_gan(**arguments: Any) -> GAN:
    torch.manual_seed(0)
    defaults = {"generator_optimizer": ADAM, "discriminator_optimizer": ADAM}
    return GAN(MLPGenerator(latent_dim=5, widths=[16, 32]), MLPDiscriminator([32, 16]), **{**defaults, **arguments})


pytestmark = pytest.mark.usefixtures("run_seed")


class Recorder(Callback):
    """Keeps images and noise of each batch, and after it G, rates, outputs, logged values and the gradients of D."""

    def __init__(self, module: GAN) -> None:
        self.images: list[Tensor] = []
        self.noise: list[Tensor] = []
        self.states: list[dict[str, Tensor]] = []
        self.rates: list[list[float]] = []
        self.outputs: list[dict[str, float]] = []
        self.logged: list[dict[str, float]] = []
        self.gradients: list[Tensor] = []
        self.steps: list[int] = []
        module.generator.register_forward_pre_hook(lambda _, args: self.noise.append(args[0].clone()))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.images.append(batch.images)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        assert isinstance(pl_module, GAN)
        self.states.append(copy.deepcopy(dict(pl_module.generator.state_dict())))
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])
        self.outputs.append({name: float(value) for name, value in outputs.items()})
        self.logged.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        gradients = [p.grad.flatten() for p in pl_module.discriminator.parameters() if p.grad is not None]
        self.gradients.append(torch.cat(gradients) if gradients else torch.zeros(0))
        self.steps.append(trainer.global_step)


def train(make: MakeTrainer, module: GAN, steps: int, data: MNISTDataModule, **settings: Any) -> Recorder:
    recorder = Recorder(module)
    make(steps, callbacks=[recorder], **{"limit_val_batches": 0, **settings}).fit(module, datamodule=data)
    return recorder


def test_training_is_the_textbook_loop(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)  # Adam would scale up rounding in its first steps
    module = make_gan(generator_optimizer=sgd, discriminator_optimizer=sgd)
    G, D = copy.deepcopy(module.generator), copy.deepcopy(module.discriminator)
    recorder = train(plain_trainer, module, 3, digits)
    g_sgd, d_sgd = sgd(G.parameters()), sgd(D.parameters())
    real, fake = torch.ones(8), torch.zeros(8)
    for images, noise in zip(recorder.images, recorder.noise, strict=True):
        fakes = G(noise)
        d_loss = F.binary_cross_entropy_with_logits(D(images), real)
        d_loss = d_loss + F.binary_cross_entropy_with_logits(D(fakes.detach()), fake)
        d_sgd.zero_grad()
        d_loss.backward()
        d_sgd.step()
        g_sgd.zero_grad()
        F.binary_cross_entropy_with_logits(D(fakes), real).backward()
        g_sgd.step()
    torch.testing.assert_close(dict(module.generator.state_dict()), dict(G.state_dict()))  # BatchNorm's buffers, too
    torch.testing.assert_close(dict(module.discriminator.state_dict()), dict(D.state_dict()))


@pytest.mark.parametrize("penalties", [{}, {"r1": 0.7, "r2": 0.4}, {"gradient_penalty": 10.0}], ids=str)
@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_gradients_are_those_of_loss_and_penalties(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, loss: str, penalties: dict[str, float]
) -> None:
    if loss == "wasserstein" and not penalties:
        pytest.skip("refused")
    module = make_gan(generator_optimizer=FIXED, discriminator_optimizer=FIXED, loss=loss, **penalties)
    G, D = copy.deepcopy(module.generator), copy.deepcopy(module.discriminator)
    recorder = train(plain_trainer, module, 1, digits)

    real = recorder.images[0].clone().requires_grad_()
    fake = G(recorder.noise[0])
    detached = fake.detach().requires_grad_()
    d_loss = GAN_LOSSES[loss].discriminator(D(real), D(detached))
    for name, images in (("r1", real), ("r2", detached)):
        (gradient,) = torch.autograd.grad(D(images).sum(), images, create_graph=True)
        d_loss = d_loss + penalties.get(name, 0) / 2 * gradient.flatten(1).square().sum(1).mean()
    weight = torch.rand(8, generator=rng(module.seed_for("between"), 0))[:, None, None, None]
    mixed = (weight * real + (1 - weight) * detached).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(mixed).sum(), mixed, create_graph=True)
    d_loss = d_loss + penalties.get("gradient_penalty", 0) * ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    g_loss = GAN_LOSSES[loss].generator(D(real), D(fake))
    for expected_loss, trained, network in ((d_loss, module.discriminator, D), (g_loss, module.generator, G)):
        gradients = torch.autograd.grad(expected_loss, list(network.parameters()), retain_graph=True)
        for (name, ours), by_hand in zip(trained.named_parameters(), gradients, strict=True):
            torch.testing.assert_close(ours.grad, by_hand, msg=name)


def test_lazy_penalties_are_rare_and_heavier(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    def run(**arguments: Any) -> Recorder:
        module = make_gan(generator_optimizer=FIXED, discriminator_optimizer=FIXED, **arguments)
        return train(plain_trainer, module, 6, digits)

    never, always, lazily = run(), run(r1=5.0), run(r1=5.0, d_reg_interval=3)
    for batch in range(6):
        times = 3 if batch in (2, 5) else 0
        assert ("d_penalty" in lazily.outputs[batch]) == (times > 0)
        assert lazily.outputs[batch]["d_loss"] == pytest.approx(never.outputs[batch]["d_loss"])
        expected = never.gradients[batch] + times * (always.gradients[batch] - never.gradients[batch])
        torch.testing.assert_close(lazily.gradients[batch], expected, rtol=1e-3, atol=1e-5)
    assert lazily.outputs[2]["d_penalty"] == always.outputs[2]["d_penalty"] > 0


@pytest.mark.parametrize(
    ("discriminator", "arguments", "passes"),
    [
        (MLPDiscriminator([8]), {}, [16, 8]),
        (MLPDiscriminator([8]), {"loss": "relativistic"}, [16, 8, 8]),
        (MLPDiscriminator([8]), {"r1": 1.0}, [8, 8, 8]),
        (DCGANDiscriminator(channels=2, normalisation="batch"), {}, [8, 8, 8]),
    ],
)
def test_one_pass_takes_real_and_fake_images_where_it_can(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, discriminator: Any, arguments: Any, passes: list[int]
) -> None:
    module = GAN(MLPGenerator(5, [8]), discriminator, FIXED, FIXED, **arguments)
    batches: list[int] = []
    discriminator.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    train(plain_trainer, module, 1, digits)
    assert batches == passes


@pytest.mark.parametrize("frozen", ["discriminator", "generator", "discriminator.layers.0", ""])
@pytest.mark.parametrize("arguments", [{}, {"r1": 1.0, "r2": 1.0}, {"n_critic": 2, "ema_decay": 0.5}])
def test_what_the_user_froze_stays_frozen(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, frozen: str, arguments: dict[str, Any]
) -> None:
    module = make_gan(**arguments)
    module.get_submodule(frozen).requires_grad_(False)
    before = copy.deepcopy(dict(module.named_parameters()))
    assert train(plain_trainer, module, 2, digits).steps == [1, 2]
    changed = {name for name, parameter in module.named_parameters() if not parameter.equal(before[name])}
    copied = "ema" if frozen == "generator" else "no other"  # the average of what stays stays, too
    assert changed == {name for name in before if not name.startswith((frozen, copied))}
    assert not any(parameter.requires_grad for parameter in module.get_submodule(frozen).parameters())


def test_one_step_is_one_batch_and_the_generator_s_come_every_n_critic(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    module = make_gan(n_critic=3, ema_decay=0.9)
    recorder = train(plain_trainer, module, 7, digits, limit_train_batches=4)
    weights = [state["layers.0.weight"] for state in recorder.states]
    changes = [not a.equal(b) for a, b in itertools.pairwise(weights)]
    assert changes == [False, True, False, False, True, False]
    assert recorder.steps == list(range(1, 8))
    assert module.ema is not None
    assert int(module.ema.n_averaged) == 2


def test_noise_depends_on_seed_and_step_alone(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise: list[Tensor] = []
    for seed in ("3", "3", "4"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        module = make_gan()
        torch.manual_seed(len(noise))
        noise.append(torch.stack(train(plain_trainer, module, 3, digits, limit_train_batches=2).noise))
    one, again, other = noise
    assert one.equal(again)
    assert len(torch.cat([*one, *other]).unique(dim=0)) == 6 * 8
    many = module.sample_noise(10_000, "test")
    assert [float(many.mean()), float(many.std())] == pytest.approx([0, 1], abs=0.03)


def test_images_come_from_the_moving_average() -> None:
    module, noise = make_gan(ema_decay=0.9).eval(), torch.randn(2, 5)
    assert module.ema is not None
    with torch.no_grad():
        module.ema.module.layers[-2].bias.add_(1)  # type: ignore[index,union-attr]
    assert module(noise).equal(module.ema.module(noise))
    assert not module(noise).equal(module.generator(noise))


def test_schedulers_step_with_every_batch(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    sgd = partial(torch.optim.SGD, lr=1.0)
    module = make_gan(
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        generator_lr_scheduler=partial(StepLR, step_size=2, gamma=0.1),
        discriminator_lr_scheduler=partial(LinearLR, start_factor=1.0, end_factor=0.0),  # as long as the run
    )
    rates = train(plain_trainer, module, 4, digits, limit_train_batches=3).rates
    assert [g for g, _ in rates] == pytest.approx([1.0, 0.1, 0.1, 0.01])
    assert [d for _, d in rates] == pytest.approx([0.75, 0.5, 0.25, 0.0])


def test_only_training_steps_use_the_matmul_precision(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    inside: set[str] = set()
    module = make_gan(matmul_precision="medium")
    for network in (module.generator, module.discriminator):
        note = lambda *_: inside.add(torch.get_float32_matmul_precision())  # noqa: E731
        network.register_forward_pre_hook(note)
        network.register_full_backward_pre_hook(note)
    train(plain_trainer, module, 1, digits)
    assert (inside, torch.get_float32_matmul_precision()) == ({"medium"}, "highest")


def test_a_batch_logs_losses_accuracies_and_norms(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    module = make_gan(generator_optimizer=FIXED, discriminator_optimizer=FIXED)
    G, D = copy.deepcopy(module.generator), copy.deepcopy(module.discriminator)
    recorder = train(plain_trainer, module, 1, digits)
    with torch.no_grad():
        expected = losses_and_accuracies("train", D(recorder.images[0]), D(G(recorder.noise[0])))
    for name, network in (("d", module.discriminator), ("g", module.generator)):
        gradients = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        expected[f"train/{name}_gradient_norm"] = float(gradients.norm())
    assert recorder.logged[0] == pytest.approx(expected, rel=1e-4)
    assert min(expected["train/d_gradient_norm"], expected["train/g_gradient_norm"]) > 0


def losses_and_accuracies(split: str, real: Tensor, fake: Tensor) -> dict[str, float]:
    """What is logged for these logits with the non-saturating loss."""
    return {
        f"{split}/d_loss": float(F.softplus(-real).mean() + F.softplus(fake).mean()),
        f"{split}/g_loss": float(F.softplus(-fake).mean()),
        f"{split}/d_accuracy_real": float((real > 0).float().mean()),
        f"{split}/d_accuracy_fake": float((fake < 0).float().mean()),
    }


def test_the_newest_penalty_is_logged_also_after_a_resume(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path
) -> None:
    def penalties(steps: int, resume: Path | None = None) -> list[float]:
        module = make_gan(r1=1.0, d_reg_interval=4)
        recorder = Recorder(module)
        trainer = plain_trainer(steps, log_every_n_steps=2, limit_val_batches=0, callbacks=[recorder])
        trainer.fit(module, datamodule=digits, ckpt_path=resume, weights_only=True if resume else None)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return [logged.get("train/d_penalty", 0) for logged in recorder.logged[1::2]]

    first, second, third, fourth, fifth = penalties(10)
    assert first == 0
    assert second == third != fourth == fifth
    assert penalties(4) == [first, second]
    assert penalties(10, tmp_path / "4.ckpt") == [third, fourth, fifth]


def test_diffaugment_shifts_what_the_discriminator_sees(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    module = make_gan(diffaugment_translation=2, loss="relativistic", discriminator_optimizer=FIXED)
    seen: list[Tensor] = []
    module.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    images = train(plain_trainer, module, 1, digits).images[0]
    (real, fake), fake_again, real_again = seen[0].chunk(2), *seen[1:]
    grid = itertools.product(range(-2, 3), repeat=2)
    every_shift = [translate(images, torch.tensor(shift).expand(8, 2)) for shift in grid]
    for shifted in (real, real_again):
        assert all(any(image.equal(other[n]) for other in every_shift) for n, image in enumerate(shifted))
        assert not shifted.equal(images)
    assert not real.equal(real_again)
    assert not fake.equal(fake_again)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_covers_the_whole_split(plain_trainer: MakeTrainer, split: str) -> None:
    module = make_gan(ema_decay=0.9)
    module.seed = 3
    with torch.no_grad():  # so that some fakes are taken for real
        logits = module.discriminator(module.eval()(module.sample_noise(200, "some")))
        module.discriminator.layers[-1].bias -= logits.median()  # type: ignore[index,union-attr]
    data = MNISTDataModule(source="packaged", batch_size=300)  # 500 and 1,000 images: a short last batch
    trainer = plain_trainer()
    evaluate = trainer.validate if split == "val" else trainer.test
    (logged,) = evaluate(module, datamodule=data, verbose=False)
    loader: Any = data.val_dataloader() if split == "val" else data.test_dataloader()
    batches = [images for images, _ in loader]
    module.eval()
    with torch.no_grad():
        real = torch.cat([module.discriminator(images) for images in batches])
        noise = [module.sample_noise(len(images), split, k) for k, images in enumerate(batches)]
        fake = torch.cat([module.discriminator(module.sampling_generator(z)) for z in noise])
    assert 0 < (fake < 0).float().mean() < 1
    assert logged == pytest.approx(losses_and_accuracies(split, real, fake), abs=1e-5)


def test_predict_makes_as_many_images_as_the_data_has(plain_trainer: MakeTrainer) -> None:
    module = make_gan(ema_decay=0.9)
    data = MNISTDataModule(source="packaged", batch_size=6, predict_size=12)
    batches: Any = plain_trainer().predict(module, datamodule=data)
    assert [tuple(batch.shape) for batch in batches] == [(6, 1, 28, 28), (6, 1, 28, 28)]
    images = torch.cat(batches)
    assert images.abs().max() <= 1
    assert len(images.flatten(1).unique(dim=0)) == 12
    torch.testing.assert_close(images[:6], module.eval()(module.sample_noise(6, "predict", 0)))
