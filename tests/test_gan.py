"""The game: who moves when, from which noise, and what is averaged and logged."""

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau, StepLR

from common.seeding import rng as seeded
from datamodules import MNISTDataModule
from lightning_modules import GAN
from losses.gan import GAN_LOSSES
from networks.dcgan import DCGANDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from twofold.warning_filters import filter_warnings

MakeTrainer = Callable[..., Trainer]

ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
STANDING = partial(torch.optim.SGD, lr=0.0)


def make_gan(**arguments: Any) -> GAN:
    defaults = {"generator_optimizer": ADAM, "discriminator_optimizer": ADAM}
    return GAN(MLPGenerator(latent_dim=5), MLPDiscriminator(), **{**defaults, **arguments})


@pytest.fixture(autouse=True)
def _seed_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


class Watch(Callback):
    """Keeps each batch's images, the noise that the generator was given, and its state and the rates afterwards."""

    def __init__(self, module: GAN) -> None:
        self.images: list[Tensor] = []
        self.noise: list[Tensor] = []
        self.states: list[dict[str, Tensor]] = []
        self.rates: list[list[float]] = []
        module.generator.register_forward_pre_hook(lambda _, args: self.noise.append(args[0].clone()))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.images.append(batch.images)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, GAN)
        self.states.append(copy.deepcopy(dict(pl_module.generator.state_dict())))
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])


def parameters(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def moved(before: dict[str, Tensor], network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}


def test_three_batches_are_those_of_the_textbook_loop(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    # Not with Adam, whose first steps blow rounding in a tiny gradient up to a full step.
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    gan = make_gan(generator_optimizer=sgd, discriminator_optimizer=sgd)
    G, D = copy.deepcopy(gan.generator), copy.deepcopy(gan.discriminator)
    watch = Watch(gan)
    plain_trainer(max_steps=3, callbacks=[watch]).fit(gan, datamodule=digits)

    g_sgd, d_sgd = sgd(G.parameters()), sgd(D.parameters())
    real, fake = torch.ones(8), torch.zeros(8)
    for images, noise in zip(watch.images, watch.noise, strict=True):
        fakes = G(noise)
        d_loss = F.binary_cross_entropy_with_logits(D(images), real)
        d_loss = d_loss + F.binary_cross_entropy_with_logits(D(fakes.detach()), fake)
        d_sgd.zero_grad()
        d_loss.backward()
        d_sgd.step()
        g_sgd.zero_grad()
        F.binary_cross_entropy_with_logits(D(fakes), real).backward()
        g_sgd.step()
    torch.testing.assert_close(dict(gan.generator.state_dict()), dict(G.state_dict()))
    torch.testing.assert_close(dict(gan.discriminator.state_dict()), dict(D.state_dict()))


@pytest.mark.parametrize(
    ("discriminator", "arguments", "passes"),
    [
        (MLPDiscriminator(), {}, [16, 8]),
        (MLPDiscriminator(), {"loss": "relativistic"}, [16, 8, 8]),
        (MLPDiscriminator(), {"r1": 1.0}, [8, 8, 8]),
        (MLPDiscriminator(), {"r2": 1.0}, [8, 8, 8]),
        (DCGANDiscriminator(channels=2, normalisation="batch"), {}, [8, 8, 8]),
    ],
)
def test_one_pass_looks_at_real_and_fake_images_unless_it_would_mix_them_or_cost_more(
    plain_trainer: MakeTrainer,
    digits: MNISTDataModule,
    discriminator: nn.Module,
    arguments: dict[str, Any],
    passes: list[int],
) -> None:
    gan = GAN(MLPGenerator(latent_dim=5), discriminator, STANDING, STANDING, **arguments)
    seen: list[int] = []
    discriminator.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    plain_trainer(max_steps=1).fit(gan, datamodule=digits)
    assert seen == passes


@pytest.mark.parametrize("standing", ["generator", "discriminator", None])
def test_each_player_moves_by_its_own_optimizer_alone(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, standing: str | None
) -> None:
    gan = make_gan(**({f"{standing}_optimizer": STANDING} if standing else {}))
    for network in ("generator", "discriminator"):
        before = parameters(getattr(gan, network))
        trainer = plain_trainer(max_steps=1)
        trainer.fit(gan, datamodule=digits)
        expected = set() if network == standing else before.keys()
        assert moved(before, getattr(gan, network)) == expected


def test_the_discriminators_gradients_are_those_of_its_own_loss(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    gan = make_gan(discriminator_optimizer=STANDING)
    watch = Watch(gan)
    D = copy.deepcopy(gan.discriminator)
    G = copy.deepcopy(gan.generator)
    plain_trainer(max_steps=1, callbacks=[watch]).fit(gan, datamodule=digits)
    (F.softplus(-D(watch.images[0])).mean() + F.softplus(D(G(watch.noise[0]).detach())).mean()).backward()
    for (name, ours), theirs in zip(gan.discriminator.named_parameters(), D.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)


def test_batchnorm_sees_one_pass_a_batch(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan()
    plain_trainer(max_steps=4).fit(gan, datamodule=digits)
    passes = [count for name, count in gan.generator.named_buffers() if name.endswith("num_batches_tracked")]
    assert passes == [4, 4, 4]


def test_layers_that_the_user_froze_stay_frozen(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan()
    gan.discriminator.get_submodule("layers.0").requires_grad_(False)
    before = parameters(gan.discriminator)
    plain_trainer(max_steps=2).fit(gan, datamodule=digits)
    frozen = {name for name, parameter in gan.discriminator.named_parameters() if not parameter.requires_grad}
    assert frozen == {"layers.0.weight", "layers.0.bias"}
    assert moved(before, gan.discriminator) == before.keys() - frozen
    assert all(parameter.requires_grad for parameter in gan.generator.parameters())


def test_noise_depends_on_seed_and_step_alone(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: dict[str, Tensor] = {}
    for name, seed in (("one", "3"), ("again", "3"), ("other", "4")):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        gan = make_gan()
        watch = Watch(gan)
        torch.manual_seed(len(runs))
        # Two epochs, because a step is not a batch's index.
        trainer = plain_trainer(max_steps=3, limit_train_batches=2, limit_val_batches=0, callbacks=[watch])
        trainer.fit(gan, datamodule=digits)
        runs[name] = torch.stack(watch.noise)
    assert torch.equal(runs["one"], runs["again"])
    assert len({tuple(noise.flatten().tolist()) for noise in (*runs["one"], *runs["other"])}) == 6
    assert runs["one"].shape == (3, 8, 5)
    many = torch.cat([gan.noise(1000, "test", k) for k in range(10)])
    assert many.mean().abs() < 0.03
    assert (many.std() - 1).abs() < 0.03


def test_drawing_noise_leaves_the_global_stream_alone(plain_trainer: MakeTrainer) -> None:
    gan = make_gan()
    gan.seed = 3
    before = torch.get_rng_state()
    gan.noise(4, "train", 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_average_follows_its_formula(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan(ema_decay=0.9)
    watch = Watch(gan)
    trainer = plain_trainer(max_steps=4, callbacks=[watch])
    trainer.fit(gan, datamodule=digits)
    average = watch.states[0]
    for n, state in enumerate(watch.states[1:], 1):
        decay = min(0.9, (n + 1) / (n + 10))
        average = {name: decay * average[name] + (1 - decay) * state[name] for name in state}
    ours = gan.sampling_generator.state_dict()
    floats = {name: value for name, value in average.items() if not name.endswith("num_batches_tracked")}
    assert any(name.endswith("running_var") for name in floats)
    for name, value in floats.items():
        torch.testing.assert_close(ours[name], value, msg=name)
        assert not torch.equal(ours[name], watch.states[-1][name]), name
    assert gan.ema is not None
    trained = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for network in (gan.generator, gan.discriminator) for p in network.parameters()}
    assert not any(parameter.requires_grad for parameter in gan.ema.parameters())


def test_pictures_come_from_the_average_if_there_is_one() -> None:
    plain, averaged = make_gan(), make_gan(ema_decay=0.9)
    assert plain.sampling_generator is plain.generator
    assert averaged.ema is not None
    assert averaged.sampling_generator is averaged.ema.module
    nn.init.zeros_(averaged.ema.module.layers[-2].weight)  # type: ignore[union-attr,index]
    nn.init.constant_(averaged.ema.module.layers[-2].bias, 0.5)  # type: ignore[union-attr,index]
    torch.testing.assert_close(averaged.eval()(torch.randn(2, 5)), torch.full((2, 1, 28, 28), 0.5).tanh())


def test_both_schedulers_step_with_every_batch(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan(
        generator_optimizer=partial(torch.optim.SGD, lr=1.0),
        discriminator_optimizer=partial(torch.optim.SGD, lr=1.0),
        generator_lr_scheduler=partial(StepLR, step_size=2, gamma=0.1),
        discriminator_lr_scheduler=partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=4),
    )
    watch = Watch(gan)
    plain_trainer(max_steps=4, limit_train_batches=3, callbacks=[watch]).fit(gan, datamodule=digits)
    generator_rates, discriminator_rates = zip(*watch.rates, strict=True)
    assert generator_rates == pytest.approx([1.0, 0.1, 0.1, 0.01])
    assert discriminator_rates == pytest.approx([0.75, 0.5, 0.25, 0.0])


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_one_scheduler_alone_goes_to_its_own_optimizer(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, network: str
) -> None:
    gan = make_gan(**{f"{network}_lr_scheduler": partial(StepLR, step_size=1, gamma=0.5)})
    watch = Watch(gan)
    plain_trainer(max_steps=1, callbacks=[watch]).fit(gan, datamodule=digits)
    assert watch.rates[0] == ([5e-4, 1e-3] if network == "generator" else [1e-3, 5e-4])


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_scheduler_that_waits_for_a_metric_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=f"{network}_lr_scheduler steps with every batch, so it can't be Reduce"):
        make_gan(**{f"{network}_lr_scheduler": partial(ReduceLROnPlateau, patience=3)})


@pytest.mark.parametrize("ema_decay", [-0.1, 0.0, 1.0, 2.0, float("nan")])
def test_a_decay_outside_0_to_1_is_refused(ema_decay: float) -> None:
    with pytest.raises(ValueError, match=f"ema_decay is {ema_decay}; write a number between 0 and 1"):
        make_gan(ema_decay=ema_decay)


def test_an_unknown_precision_of_products_is_refused() -> None:
    with pytest.raises(ValueError, match="matmul_precision is 'low'; write one of highest, high, medium"):
        make_gan(matmul_precision="low")


def test_only_the_players_multiply_coarsely(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    class Look(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            outside.append(torch.get_float32_matmul_precision())

    inside: list[str] = []
    outside: list[str] = []
    gan = make_gan(matmul_precision="medium")
    for network in (gan.generator, gan.discriminator):
        note = lambda *_: inside.append(torch.get_float32_matmul_precision())  # noqa: E731
        network.register_forward_pre_hook(note)
        network.register_full_backward_pre_hook(note)
    plain_trainer(max_steps=2, callbacks=[Look()]).fit(gan, datamodule=digits)
    assert set(inside) == {"medium"}
    assert outside == ["highest", "highest"]


def test_a_generator_without_latent_dim_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear needs a whole number `latent_dim`"):
        GAN(nn.Linear(5, 784), MLPDiscriminator())


def test_the_losses_of_a_batch_are_logged(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan(generator_optimizer=STANDING, discriminator_optimizer=STANDING)
    G, D = copy.deepcopy(gan.generator), copy.deepcopy(gan.discriminator)
    watch = Watch(gan)
    trainer = plain_trainer(max_steps=1, callbacks=[watch])
    trainer.fit(gan, datamodule=digits)
    with torch.no_grad():
        real, fake = D(watch.images[0]), D(G(watch.noise[0]))
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    norms = {name: norm(getattr(gan, network)) for name, network in (("d", "discriminator"), ("g", "generator"))}
    assert logged == {
        "train/d_loss": pytest.approx(
            float(-real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()), abs=1e-5
        ),
        "train/g_loss": pytest.approx(float(-fake.sigmoid().log().mean()), abs=1e-5),
        "train/d_accuracy_real": float((real > 0).float().mean()),
        "train/d_accuracy_fake": float((fake < 0).float().mean()),
        "train/d_gradient_norm": pytest.approx(norms["d"], rel=1e-4),
        "train/g_gradient_norm": pytest.approx(norms["g"], rel=1e-4),
    }
    assert min(norms.values()) > 0


def norm(network: nn.Module) -> float:
    return float(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).norm())  # type: ignore


def test_only_batches_that_somebody_reads_are_logged(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan()
    logged: list[dict[str, Any]] = []
    gan.log_dict = lambda values, **_: logged.append(values)  # type: ignore[method-assign]
    plain_trainer(max_steps=7, log_every_n_steps=3).fit(gan, datamodule=digits)
    assert [set(values) for values in logged] == 3 * [  # of batches 3, 6 and the last
        {"train/d_loss", "train/g_loss"},
        {f"train/{name}" for name in ("d_accuracy_real", "d_accuracy_fake", "d_gradient_norm", "g_gradient_norm")},
    ]


def test_the_newest_penalty_is_logged_from_the_first_on_also_in_a_resumed_run(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")

    def penalties(steps: int, resume: Path | None = None) -> list[float | None]:
        torch.manual_seed(0)
        gan = make_gan(r1=1.0, d_reg_interval=4)
        logged: list[dict[str, Any]] = []
        gan.log_dict = lambda values, **_: logged.append(values)  # type: ignore[method-assign]
        trainer = plain_trainer(max_steps=steps, log_every_n_steps=2)
        trainer.fit(gan, datamodule=digits, ckpt_path=resume, weights_only=True if resume else None)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        read = [values for values in logged if "train/d_loss" in values]
        return [float(values["train/d_penalty"]) if "train/d_penalty" in values else None for values in read]

    first, second, third, fourth, fifth = penalties(10)
    assert first is None
    assert second == third != fourth == fifth
    assert penalties(4) == [first, second]
    assert penalties(10, tmp_path / "4.ckpt") == [third, fourth, fifth]


PENALTIES: list[dict[str, float]] = [
    {},
    {"r1": 0.7},
    {"r2": 0.4},
    {"r1": 0.7, "r2": 0.4},
    {"gradient_penalty": 10.0},
]


GAMES = [(loss, penalties) for loss in GAN_LOSSES for penalties in PENALTIES if loss != "wasserstein" or penalties]


@pytest.mark.parametrize(("loss", "penalties"), GAMES, ids=str)
def test_both_players_gradients_are_those_of_loss_and_penalties(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, loss: str, penalties: dict[str, float]
) -> None:
    gan = make_gan(generator_optimizer=STANDING, discriminator_optimizer=STANDING, loss=loss, **penalties)
    watch = Watch(gan)
    G, D = copy.deepcopy(gan.generator), copy.deepcopy(gan.discriminator)
    plain_trainer(max_steps=1, callbacks=[watch]).fit(gan, datamodule=digits)

    real = watch.images[0].clone().requires_grad_()
    fake = G(watch.noise[0])
    seen = fake.detach().requires_grad_()
    d_loss = GAN_LOSSES[loss].discriminator(D(real), D(seen))
    for name, images in (("r1", real), ("r2", seen)):
        (gradient,) = torch.autograd.grad(D(images).sum(), images, create_graph=True)
        d_loss = d_loss + penalties.get(name, 0) / 2 * gradient.flatten(1).square().sum(1).mean()
    share = torch.rand(8, generator=seeded(gan.seed_for("between"), 0))[:, None, None, None]
    mixed = (share * real + (1 - share) * seen).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(mixed).sum(), mixed, create_graph=True)
    d_loss = d_loss + penalties.get("gradient_penalty", 0) * ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    for (name, ours), by_hand in zip(
        gan.discriminator.named_parameters(), torch.autograd.grad(d_loss, list(D.parameters())), strict=True
    ):
        torch.testing.assert_close(ours.grad, by_hand, msg=name)
    g_loss = GAN_LOSSES[loss].generator(D(real), D(fake))
    for (name, ours), by_hand in zip(
        gan.generator.named_parameters(), torch.autograd.grad(g_loss, list(G.parameters())), strict=True
    ):
        torch.testing.assert_close(ours.grad, by_hand, msg=name)


def test_lazy_penalties_come_every_so_many_batches_with_as_many_times_the_weight(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    def play(**arguments: Any) -> "Outcomes":
        torch.manual_seed(0)
        gan = make_gan(generator_optimizer=STANDING, discriminator_optimizer=STANDING, **arguments)
        outcomes = Outcomes()
        plain_trainer(max_steps=6, callbacks=[outcomes]).fit(gan, datamodule=digits)
        return outcomes

    never, always, lazily = play(), play(r1=5.0), play(r1=5.0, d_reg_interval=3)
    assert never.losses == pytest.approx(always.losses)  # which don't hold the penalty
    assert never.losses == pytest.approx(lazily.losses)
    assert never.penalties == [None] * 6
    assert lazily.penalties == [None, None, always.penalties[2], None, None, always.penalties[5]]
    assert min(filter(None, always.penalties)) > 0
    for batch in range(6):
        times = 3 if batch in (2, 5) else 0
        expected = never.gradients[batch] + times * (always.gradients[batch] - never.gradients[batch])
        torch.testing.assert_close(lazily.gradients[batch], expected, rtol=1e-3, atol=1e-5)


class Outcomes(Callback):
    """Keeps each batch's losses, penalties and gradients of the discriminator."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.penalties: list[float | None] = []
        self.gradients: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        assert isinstance(pl_module, GAN)
        self.losses.append(float(outputs["d_loss"]))
        self.penalties.append(float(outputs["d_penalty"]) if "d_penalty" in outputs else None)
        self.gradients.append(torch.cat([p.grad.flatten() for p in pl_module.discriminator.parameters()]))  # type: ignore


def test_the_generator_moves_on_every_so_many_th_batch_and_a_batch_stays_one_step(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    gan = make_gan(n_critic=3, ema_decay=0.9)
    watch = Watch(gan)
    trainer = plain_trainer(max_steps=7, callbacks=[watch])
    before = copy.deepcopy(gan.generator.state_dict())
    trainer.fit(gan, datamodule=digits)
    assert trainer.global_step == 7
    weight = [state["layers.0.weight"] for state in ({**before}, *watch.states)]
    assert [not torch.equal(a, b) for a, b in pairwise(weight)] == [False, False, True, False, False, True, False]
    assert len({tuple(noise.flatten().tolist()) for noise in watch.noise}) == 7
    assert gan.ema is not None
    assert int(gan.ema.n_averaged) == 2


def test_rates_that_fall_while_the_generator_rests_are_nothing_to_warn_of(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    falling = partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        filter_warnings()
        plain_trainer(max_steps=4).fit(make_gan(n_critic=3, generator_lr_scheduler=falling), datamodule=digits)
    assert not [warning for warning in told if "lr_scheduler" in str(warning.message)]


def test_what_the_discriminator_sees_is_moved(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan(translation=2, loss="relativistic", discriminator_optimizer=STANDING)
    watch = Watch(gan)
    seen: list[Tensor] = []
    gan.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    plain_trainer(max_steps=1, callbacks=[watch]).fit(gan, datamodule=digits)
    together, fake_again, real_again = seen
    real, fake = together.chunk(2)
    for images, moved_about in ((watch.images[0], real), (watch.images[0], real_again)):
        shifts = [shift_between(a, b) for a, b in zip(images, moved_about, strict=True)]
        assert len(set(shifts)) > 1
    assert not torch.equal(real, real_again)
    assert not torch.equal(fake, fake_again)


def shift_between(image: Tensor, moved: Tensor) -> tuple[int, int]:
    """How far the ink went, down and right, in whole pixels."""
    ink = [torch.nonzero(picture[0] > -1).float().mean(0) for picture in (image, moved)]
    down, right = (ink[1] - ink[0]).tolist()
    assert abs(down) <= 2.01
    assert abs(right) <= 2.01
    return round(down), round(right)


def test_a_repeated_run_has_the_same_bits_with_everything_that_draws_numbers(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    states = []
    for noise_before in (0, 1):
        torch.manual_seed(0)
        gan = make_gan(translation=1, gradient_penalty=1.0, loss="wasserstein")
        torch.manual_seed(noise_before)
        plain_trainer(max_steps=3).fit(gan, datamodule=digits)
        states.append(gan.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


class WithBatchNorm(MLPDiscriminator):
    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(1, nn.BatchNorm1d(512))


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"loss": "bce"}, "loss is 'bce'; write one of minimax, nonsaturating, hinge, least_squares, wasserstein, relat"),
    ({"r1": -1.0}, "r1 is -1.0; write a weight of 0 or more"),
    ({"r2": float("nan")}, "r2 is nan; write a weight of 0 or more"),
    ({"r1": float("inf")}, "r1 is inf; write a weight of 0 or more"),
    ({"d_reg_interval": 1.5}, "d_reg_interval is 1.5; write 1 for every batch, or a larger whole number"),
    ({"n_critic": 2.0}, "n_critic is 2.0; write 1 for every batch, or a larger whole number"),
    ({"translation": 1.5}, "translation is 1.5; write a whole number of pixels"),
    ({"translation": 28}, "translation is 28, which can move images of 28 pixels out of sight; write less"),
    ({"gradient_penalty": -10.0}, "gradient_penalty is -10.0; write a weight of 0 or more"),
    ({"d_reg_interval": 0}, "d_reg_interval is 0; write 1 for every batch, or a larger"),
    ({"n_critic": 0}, "n_critic is 0; write 1 for every batch, or a larger"),
    ({"translation": -1}, "translation is -1; write a whole number of pixels"),
    ({"r2": 1.0, "gradient_penalty": 10.0}, "gradient_penalty pulls the discriminator's slope to 1 and r2 pulls it to"),
    ({"loss": "wasserstein"}, "the wasserstein loss grows without end unless .* set gradient_penalty to 10"),
]


@pytest.mark.parametrize(("arguments", "words"), IMPOSSIBLE)
@pytest.mark.usefixtures("unchecked")
def test_an_impossible_game_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_gan(**arguments)


@pytest.mark.parametrize("penalty", ["r1", "r2", "gradient_penalty"])
def test_penalties_with_a_discriminator_that_mixes_images_are_refused(penalty: str) -> None:
    with pytest.raises(ValueError, match=f"{penalty} needs each image's own gradient, and .* BatchNorm mixes"):
        GAN(MLPGenerator(5), WithBatchNorm(), **{penalty: 1.0})  # type: ignore[arg-type]
    GAN(MLPGenerator(5), WithBatchNorm())


def test_logits_that_are_probabilities_are_refused() -> None:
    classifier = MLPDiscriminator()
    classifier.layers.append(nn.Sigmoid())
    with pytest.raises(ValueError, match="the discriminator ends in a sigmoid, which the losses take themselves"):
        GAN(MLPGenerator(5), classifier)


def test_half_a_bound_is_none() -> None:
    classifier = MLPDiscriminator()
    nn.utils.parametrizations.spectral_norm(classifier.get_submodule("layers.0"))
    for layer in (0, 2, 4):
        with pytest.raises(ValueError, match="the wasserstein loss grows without end"):
            GAN(MLPGenerator(5), classifier, loss="wasserstein")
        if layer:
            nn.utils.parametrizations.spectral_norm(classifier.get_submodule(f"layers.{layer}"))
    GAN(MLPGenerator(5), classifier, loss="wasserstein")


def test_wasserstein_is_played_when_the_slope_is_bounded() -> None:
    GAN(MLPGenerator(5), MLPDiscriminator(normalisation="spectral"), loss="wasserstein")
    make_gan(loss="wasserstein", gradient_penalty=10.0)


class Small(nn.Module):
    latent_dim = 5

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.layer = nn.Linear(5, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.layer(z).unflatten(1, self.shape)
        return images


@pytest.mark.usefixtures("unchecked")
def test_players_that_don_t_fit_are_refused() -> None:
    with pytest.raises(
        ValueError, match="MLPDiscriminator and Small don't fit: the generator makes images of 1 × 9 × 9"
    ):
        GAN(Small(1, 9, 9), MLPDiscriminator())
    with pytest.raises(ValueError, match=r"for 2 images the discriminator gives \(2, 1\); give one logit each"):
        GAN(MLPGenerator(5), nn.Sequential(nn.Flatten(), nn.Linear(784, 1)))


@pytest.mark.usefixtures("unchecked")
def test_a_single_image_left_to_the_end_of_an_epoch_is_refused(plain_trainer: MakeTrainer) -> None:
    data = MNISTDataModule(source="packaged", batch_size=1333, train_on_validation=True)  # 3 × 1,333 + 1 = 4,000
    with pytest.raises(
        ValueError, match="BatchNorm needs at least 2 images, and this batch has 1; choose a batch_size"
    ):
        plain_trainer(max_steps=4).fit(make_gan(), datamodule=data)


def test_images_of_another_size_than_the_data_s_are_refused(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(81, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match="the generator makes images of 1 × 9 × 9 and the data's are 1 × 28 × 28"):
        plain_trainer(max_steps=1).fit(GAN(Small(1, 9, 9), classifier), datamodule=digits)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_logs_losses_and_verdicts_of_the_whole_split(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, split: str
) -> None:
    gan = make_gan(ema_decay=0.9)
    gan.seed = 3
    with torch.no_grad():  # so that the verdicts on the fakes are divided
        gan.discriminator.layers[-1].bias -= gan.discriminator(gan.eval()(gan.noise(200, "some"))).median()  # type: ignore
    trainer = plain_trainer()
    data = MNISTDataModule(source="packaged", batch_size=300)  # 500 to validate and 1,000 to test: a short last batch
    evaluate = trainer.validate if split == "val" else trainer.test
    (logged,) = evaluate(gan, datamodule=data, verbose=False)
    loader: Any = data.val_dataloader() if split == "val" else data.test_dataloader()
    batches = [images for images, _ in loader]
    gan.eval()
    with torch.no_grad():
        real = torch.cat([gan.discriminator(images) for images in batches])
        noise = [gan.noise(len(images), split, k) for k, images in enumerate(batches)]
        fake = torch.cat([gan.discriminator(gan.sampling_generator(z)) for z in noise])
    assert len(real) == len(fake) == (500 if split == "val" else 1000)
    assert 0 < (fake < 0).float().mean() < 1
    assert logged == {
        f"{split}/d_loss": pytest.approx(float(F.softplus(-real).mean() + F.softplus(fake).mean()), abs=1e-5),
        f"{split}/g_loss": pytest.approx(float(F.softplus(-fake).mean()), abs=1e-5),
        f"{split}/d_accuracy_real": pytest.approx(float((real > 0).float().mean()), abs=1e-5),
        f"{split}/d_accuracy_fake": pytest.approx(float((fake < 0).float().mean()), abs=1e-5),
    }


def test_predict_makes_as_many_new_images_as_the_batches_have(plain_trainer: MakeTrainer) -> None:
    gan = make_gan(ema_decay=0.9)
    data = MNISTDataModule(source="packaged", batch_size=6, predict_size=12)
    batches = plain_trainer().predict(gan, datamodule=data)
    assert batches is not None
    assert [tuple(batch.shape) for batch in batches] == [(6, 1, 28, 28), (6, 1, 28, 28)]  # type: ignore[union-attr]
    images = torch.cat(batches)  # type: ignore[arg-type]
    assert images.abs().max() <= 1
    assert len(images.flatten(1).unique(dim=0)) == 12
    torch.testing.assert_close(images[:6], gan.eval()(gan.noise(6, "predict", 0)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_on_a_gpu(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = make_gan(ema_decay=0.9)
    before = parameters(gan)
    trainer = plain_trainer(max_steps=1, accelerator="gpu", devices=1)
    trainer.fit(gan, datamodule=digits)
    assert trainer.global_step == 1
    assert {name for name in moved(before, gan.cpu()) if not name.startswith("ema")} == {
        name for name in before if not name.startswith("ema")
    }
