"""GAN training: a generator G turns noise into images, a discriminator D tells them from real images, both learn."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import Tensor, nn
from torch.optim import Optimizer

from common.matmul_precision import matmul_precision
from common.moving_average import MovingAverage
from common.seeding import latent_noise, rng
from common.sharding import all_gather, average_batchnorm_statistics, sum_over_ranks
from lightning_modules.base import TwofoldModule, count_batch, exclude_from_global_step
from lightning_modules.batches import images_of, labels_of
from lightning_modules.gan_arguments import validate_gan_arguments
from losses.gan import GAN_LOSSES, accuracies
from losses.penalties import interpolates, r1_penalty, r2_penalty, wgan_gp_penalty
from networks.augmentation import random_shifts, translate
from networks.conditional import classes_of, labels_in_turn
from networks.normalisation import mixes_images

Images = Float[Tensor, "batch channels height width"]
Logits = Float[Tensor, " batch"]


class GAN(TwofoldModule):
    """Generative adversarial networks (https://arxiv.org/abs/1406.2661), with the losses and penalties published since.

    Each batch is one step: D is updated first, then G, on the logits of the updated D. `training_step` shows all of it.
    With networks that have `classes` (see `networks.conditional`) it is class-conditional and needs labelled batches.

    Logged for batches that are logged: `train/d_loss`, `train/g_loss` and `train/d_penalty` (the newest of each),
    `train/d_accuracy_real` and `train/d_accuracy_fake` (shares of real and of fake images that D classifies correctly),
    `train/d_gradient_norm` and `train/g_gradient_norm`.

    Args:
        generator: noise `(batch, latent_dim)` → images in [−1, 1], such as `(batch, 1, 28, 28)`; has an integer
            `latent_dim`. Its images have the shape of the data's.
        discriminator: images → logits `(batch,)`, positive for "real".
        generator_optimizer: class or partial that takes the generator's parameters.
        discriminator_optimizer: class or partial that takes the discriminator's parameters.
        generator_lr_scheduler: class or partial that takes the generator's optimizer; steps with every batch, without
            a metric. Without a length (`total_iters`, `total_steps` or `T_max`) it lasts for the trainer's `max_steps`.
        discriminator_lr_scheduler: the same for the discriminator's optimizer.
        loss: a key of `losses.gan.GAN_LOSSES`: minimax, nonsaturating, hinge, least_squares, wasserstein, relativistic.
        r1: weight γ of the R1 penalty on real images; 0 for none.
        r2: weight γ of the R2 penalty on generated images; 0 for none.
        gradient_penalty: weight λ of the WGAN-GP penalty on interpolates of real and generated images; 0 for none.
        d_reg_interval: apply the penalties to every so-many-th batch, with as many times the weight (lazy
            regularisation, Karras et al. 2020, arXiv 1912.04958, appendix B).
        n_critic: update G on every so-many-th batch; D is updated on each.
        diffaugment_translation: shift all images that D sees at random by up to so many pixels (DiffAugment).
        ema_decay: decay in (0, 1) of an exponential moving average of G, from which all images are sampled; see
            `common.moving_average`. None for no average.
        matmul_precision: precision of float32 matrix products in training steps: highest, high or medium; see
            `common.matmul_precision`. Validation and callbacks use torch's global setting.

    Raises:
        ValueError: when the generator has no `latent_dim`, an argument is out of range, arguments contradict each
            other, or the discriminator can't process the generator's images, or has another number of classes.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimizer: OptimizerCallable = torch.optim.Adam,
        discriminator_optimizer: OptimizerCallable = torch.optim.Adam,
        generator_lr_scheduler: LRSchedulerCallable | None = None,
        discriminator_lr_scheduler: LRSchedulerCallable | None = None,
        loss: str = "nonsaturating",
        r1: float = 0.0,
        r2: float = 0.0,
        gradient_penalty: float = 0.0,
        d_reg_interval: int = 1,
        n_critic: int = 1,
        diffaugment_translation: int = 0,
        ema_decay: float | None = None,
        matmul_precision: str = "highest",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_lr_scheduler = generator_lr_scheduler
        self.discriminator_lr_scheduler = discriminator_lr_scheduler
        self.loss = loss
        self.r1 = r1
        self.r2 = r2
        self.gradient_penalty = gradient_penalty
        self.d_reg_interval = d_reg_interval
        self.n_critic = n_critic
        self.diffaugment_translation = diffaugment_translation
        self.ema_decay = ema_decay
        self.matmul_precision = matmul_precision
        self.image_shape = validate_gan_arguments(vars(self), generator, discriminator)
        self.classes = classes_of(generator)
        self.gan_loss = GAN_LOSSES[loss]
        self._newest_losses: dict[str, Tensor | float] = {}
        self._predicted = 0
        self.ema: MovingAverage | None = None if ema_decay is None else MovingAverage(generator, ema_decay)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        images, labels = images_of(batch, self.image_shape), labels_of(batch, self.classes)
        step = self.trainer.global_step
        n = sum_over_ranks(len(images))
        scale = self.loss_scale(images, n)
        trains_generator = (step + 1) % self.n_critic == 0 and _is_trainable(self.generator)
        penalised = (step + 1) % self.d_reg_interval == 0 and any((self.r1, self.r2, self.gradient_penalty))
        g_optimizer, d_optimizer = self.optimizers()  # type: ignore[attr-defined]
        exclude_from_global_step(g_optimizer)
        with matmul_precision(self.matmul_precision):
            # Fakes. One forward pass of G serves both updates, so it comes before `toggled_optimizer` freezes G.
            # They have the labels of the real images, so their classes are as frequent as the data's, and those that a
            # paired loss compares are of one class. `labels` is empty for an unconditional GAN.
            noise = self.shard(self.sample_noise(n, "train", step))
            with torch.set_grad_enabled(trains_generator):
                fakes = self.generator(noise, *labels).to(images.dtype)

            # D's loss on real and fake images, its penalty every `d_reg_interval` batches, and its step.
            with self.toggled_optimizer(d_optimizer):
                real = images.detach().requires_grad_(penalised and self.r1 > 0)
                fake = fakes.detach().requires_grad_(penalised and self.r2 > 0)
                real_logits, fake_logits = self._real_and_fake_logits(
                    self._augment(real, n, "real", step), self._augment(fake, n, "fake", step), labels
                )
                d_loss = self.gan_loss.discriminator(real_logits, fake_logits)
                losses, penalty = {"d_loss": scale * d_loss.detach()}, torch.zeros((), device=self.device)
                if penalised and self.r1 > 0:
                    penalty = penalty + self.r1 * r1_penalty(real_logits, real)
                if penalised and self.r2 > 0:
                    penalty = penalty + self.r2 * r2_penalty(fake_logits, fake)
                if penalised and self.gradient_penalty > 0:
                    weight = torch.rand(n, generator=self._rng("between", step), device=self.device)
                    mixed = interpolates(real, fake, self.shard(weight)).requires_grad_()
                    mixed_logits = self._logits(self._augment(mixed, n, "mixed", step), labels)
                    penalty = penalty + self.gradient_penalty * wgan_gp_penalty(mixed_logits, mixed)
                if penalised:
                    losses["d_penalty"] = scale * penalty.detach()
                d_optimizer.zero_grad()
                if _is_trainable(self.discriminator):
                    self.manual_backward(scale * (d_loss + self.d_reg_interval * penalty))
                    d_optimizer.step()
                else:
                    count_batch(d_optimizer)

            # G's loss on the logits of the updated D, and its step every `n_critic` batches.
            if trains_generator:
                with self.toggled_optimizer(g_optimizer):
                    new_logits = self._logits(self._augment(fakes, n, "fake again", step), labels)
                    if self.gan_loss.paired:
                        real_logits = self._logits(self._augment(images, n, "real again", step), labels)
                    g_loss = self.gan_loss.generator(real_logits, new_logits)
                    losses["g_loss"] = scale * g_loss.detach()
                    g_optimizer.zero_grad()
                    self.manual_backward(scale * g_loss)
                    g_optimizer.step()
        average_batchnorm_statistics(self.generator, self.discriminator)
        if self.ema is not None and trains_generator:
            self.ema.update_parameters(self.generator)
        for config in self.trainer.lr_scheduler_configs:
            config.scheduler.step()  # type: ignore[call-arg]
        return self._log_losses(losses, real_logits.detach(), fake_logits.detach())

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the networks in place, with `torch.compile`'s arguments; the names of their weights stay.

        A discriminator with a penalty isn't compiled, because compiled code has no second derivative.
        """
        self.generator.compile(*args, **kwargs)
        if not any((self.r1, self.r2, self.gradient_penalty)):
            self.discriminator.compile(*args, **kwargs)

    @property
    def sampling_generator(self) -> nn.Module:
        """The generator to sample images from: the moving average if there is one."""
        return self.generator if self.ema is None else self.ema.module

    def forward(self, noise: Float[Tensor, "batch latent"], *labels: Tensor) -> Images:
        images: Tensor = self.sampling_generator(noise, *labels)
        return images.to(noise.dtype)

    def sample_noise(self, n: int, *key: int | str) -> Float[Tensor, "n latent"]:
        """Returns `n` standard normal noise vectors, a function of the run's seed and `key`."""
        return latent_noise(self.generator, n, self._rng("noise", *key))

    def _rng(self, purpose: str, *key: int | str) -> torch.Generator:
        return rng(self.seed_for(purpose), *key, device=self.device)

    def _augment(self, images: Images, n: int, *key: int | str) -> Images:
        """Returns this rank's images of a global batch of `n` as D sees them (DiffAugment)."""
        if self.diffaugment_translation == 0:
            return images
        shifts = random_shifts(n, self.diffaugment_translation, self._rng("shifts", *key))
        return translate(images, self.shard(shifts))

    def _logits(self, images: Images, labels: Sequence[Tensor]) -> Logits:
        """Returns D's logits in the images' dtype, so that losses are computed in float32 under mixed precision."""
        logits: Tensor = self.discriminator(images, *labels)
        return logits.to(images.dtype)

    def _real_and_fake_logits(self, real: Images, fake: Images, labels: Sequence[Tensor]) -> tuple[Logits, Logits]:
        # One pass is faster than two, but BatchNorm would mix the images, and a penalty's gradient would go back
        # through both.
        if real.requires_grad or fake.requires_grad or mixes_images(self.discriminator):
            return self._logits(real, labels), self._logits(fake, labels)
        both = [each.repeat(2) for each in labels]
        real_logits, fake_logits = self._logits(torch.cat([real, fake]), both).chunk(2)
        return real_logits, fake_logits

    def _log_losses(self, losses: dict[str, Tensor], real_logits: Logits, fake_logits: Logits) -> dict[str, Tensor]:
        """Logs the losses of the global batch and returns them."""
        if self.trainer.world_size > 1:
            means = self.trainer.strategy.reduce(torch.stack(list(losses.values())), reduce_op="mean")
            losses = dict(zip(losses, means, strict=True))
        # All are logged each time: Lightning repeats a value that a batch lacks, but not in a resumed run.
        self._newest_losses |= losses
        # Here instead of in `on_train_batch_end`, which runs after the callbacks' hooks, where checkpoints are saved.
        if self.is_logged():
            real_accuracy, fake_accuracy = accuracies(all_gather(real_logits), all_gather(fake_logits), self.gan_loss)
            numbers: dict[str, Any] = {
                **self._newest_losses,
                "d_accuracy_real": real_accuracy,
                "d_accuracy_fake": fake_accuracy,
                "d_gradient_norm": _gradient_norm(self.discriminator),
                "g_gradient_norm": _gradient_norm(self.generator),
            }
            for name, value in numbers.items():
                self.log(f"train/{name}", value, prog_bar=name in self._newest_losses)
        return losses

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["newest_losses"] = {name: float(loss) for name, loss in self._newest_losses.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._newest_losses = dict(checkpoint.get("newest_losses", {}))

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch, batch_idx, "val")

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch, batch_idx, "test")

    def _evaluate(self, batch: Any, batch_idx: int, split: str) -> None:
        """Logs both losses, and the shares of real and of fake images that D classifies correctly."""
        images, labels = images_of(batch, self.image_shape), labels_of(batch, self.classes)
        noise = self.shard(self.sample_noise(sum_over_ranks(len(images)), split, batch_idx))
        real_logits = all_gather(self._logits(images, labels))
        fake_logits = all_gather(self._logits(self(noise, *labels), labels))
        accuracy_real, accuracy_fake = accuracies(real_logits, fake_logits, self.gan_loss)
        numbers = {
            f"{split}/d_loss": self.gan_loss.discriminator(real_logits, fake_logits),
            f"{split}/g_loss": self.gan_loss.generator(real_logits, fake_logits),
            f"{split}/d_accuracy_real": accuracy_real,
            f"{split}/d_accuracy_fake": accuracy_fake,
        }
        self.log_dict(numbers, batch_size=len(real_logits), sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Images:
        """Returns as many generated images as the batch has, of all classes in turn if there are classes."""
        n = sum_over_ranks(len(images_of(batch)))
        first = self._predicted if batch_idx else 0
        self._predicted = first + n
        labels = [each.to(self.device) for each in labels_in_turn(self.generator, n, first=first)]
        generated: Tensor = self(*map(self.shard, (self.sample_noise(n, "predict", batch_idx), *labels)))
        return generated

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRSchedulerConfigType]]:  # type: ignore[override]
        optimizers = [
            self.generator_optimizer(self.generator.parameters()),
            self.discriminator_optimizer(self.discriminator.parameters()),
        ]
        if any(isinstance(optimizer, torch.optim.LBFGS) for optimizer in optimizers):
            raise ValueError("LBFGS computes the loss several times in a step, which no GAN does; write Adam, say")
        factories = (self.generator_lr_scheduler, self.discriminator_lr_scheduler)
        schedulers = [
            self.scheduler_config(factory, optimizer)
            for factory, optimizer in zip(factories, optimizers, strict=True)
            if factory is not None
        ]
        return optimizers, schedulers


def _is_trainable(network: nn.Module) -> bool:
    """Returns False for a network that the user froze, which has no gradient to compute."""
    return any(weight.requires_grad for weight in network.parameters())


def _gradient_norm(network: nn.Module) -> Float[Tensor, ""]:
    """Returns the norm of the gradients of the last step; they stay until the next."""
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    return nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
