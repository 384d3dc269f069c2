"""A game: a generator turns noise into digits, a discriminator tells them from real ones, and both learn."""

from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from common.matmul_precision import matmul_precision
from common.moving_average import moving_average
from common.seeding import latent_noise, rng
from lightning_modules.base import TwofoldModule, scheduler_config
from lightning_modules.gan_arguments import refuse_lone_image, refuse_other_size, validate_gan_arguments
from lightning_modules.step_counting import dont_count
from losses.gan import GAN_LOSSES, accuracies
from losses.penalties import interpolates, r1_penalty, r2_penalty, wgan_gp_penalty
from networks.augmentation import random_shifts, translate
from networks.normalisation import mixes_images


class GAN(TwofoldModule):
    """Goodfellow's game (https://arxiv.org/abs/1406.2661), with the losses and penalties that came after it.

    Each batch is one step: the discriminator moves first, then the generator, evaluated by the discriminator as it is
    now.
    One pass of the generator serves both. One of the discriminator looks at real and fake images together, unless a
    BatchNorm would mix them or a penalty asks for passes of their own. Of batches whose log is read, it logs both
    losses and the penalty, each as it was last, the shares of real and fake images that the discriminator takes for
    what they are, and the norms of both networks' gradients: `train/d_loss`, `d_penalty`, `g_loss`, `d_accuracy_real`,
    `d_accuracy_fake`, `d_gradient_norm`, `g_gradient_norm`.

    Args:
        generator: noise `(batch, latent_dim)` → images `(batch, 1, 28, 28)` in [−1, 1]; has a number `latent_dim`.
        discriminator: images → logits `(batch,)`, higher for "real".
        generator_optimizer: class or partial that takes the generator's parameters.
        discriminator_optimizer: class or partial that takes the discriminator's parameters.
        generator_lr_scheduler: class or partial that takes the generator's optimizer; steps with every batch.
        discriminator_lr_scheduler: the same for the discriminator's.
        loss: a name of `losses.gan`: minimax, nonsaturating, hinge, least_squares, wasserstein, relativistic.
        r1: weight γ of the zero-centred gradient penalty on real images; 0 for none.
        r2: the same on generated images.
        gradient_penalty: weight λ of WGAN-GP's penalty between real and generated images; 0 for none.
        d_reg_interval: penalise only every so many batches, with as many times the weight (lazy regularisation,
            Karras et al. 2020, arXiv 1912.04958, appendix B).
        n_critic: the generator moves on every so-many-th batch, the discriminator on each.
        diffaugment_translation: move all that the discriminator sees at random by up to so many pixels.
        ema_decay: keep an exponential moving average of the generator with this decay, in (0, 1), and draw all
            pictures from it; see `common.moving_average`. None: no average.
        matmul_precision: how exactly matrices are multiplied in training steps: highest, high or medium; see
            `common.matmul_precision`. What classifiers and draws the images multiplies as torch is set to.

    Raises:
        ValueError: when the generator has no `latent_dim`, an argument is out of range, the arguments contradict each
            other, the discriminator can't classifier what the generator makes, or a scheduler is ReduceLROnPlateau,
            which
            waits for a metric.
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
        self.save_arguments()
        validate_gan_arguments(self.hparams, generator, discriminator)
        self.gan_loss = GAN_LOSSES[loss]
        self._newest: dict[str, Tensor | float] = {}
        self.ema: AveragedModel | None = None
        if ema_decay is not None:
            self.ema = moving_average(generator, ema_decay, lambda: self.guard.stopped)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the networks in place, with `torch.compile`'s arguments; the names of their weights stay.

        A discriminator under a penalty is left as it is, for its gradient's gradient can't be had from compiled code.
        """
        self.generator.compile(*args, **kwargs)
        if not any((self.r1, self.r2, self.gradient_penalty)):
            self.discriminator.compile(*args, **kwargs)

    @property
    def sampling_generator(self) -> nn.Module:
        """The generator to draw pictures from: the averaged one if there is one."""
        return self.generator if self.ema is None else self.ema.module

    def forward(self, noise: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 28 28"]:
        images: Tensor = self.sampling_generator(noise)
        return images.to(noise.dtype)

    def noise(self, batch_size: int, *key: int | str) -> Float[Tensor, "batch latent"]:
        """Standard normal noise that depends on the run's seed and `key` alone; each rank has its rows of it."""
        return self.drawn(lambda n: latent_noise(self.generator, n, self._stream("noise", *key)), batch_size)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        images, _ = batch
        with matmul_precision(self.matmul_precision):
            outcome, real, fake = self._play(images)
        outcome = self.over_all_ranks(outcome)
        self._log(outcome, real.detach(), fake.detach())
        return outcome

    def _play(self, images: Float[Tensor, "batch 1 28 28"]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Both networks' moves: what they lost, and the discriminator's logits of real and of fake images."""
        generator_optimizer, discriminator_optimizer = self.optimizers()  # type: ignore[attr-defined]
        dont_count(generator_optimizer)
        step = self.trainer.global_step
        generator_moves = (step + 1) % self.n_critic == 0
        refuse_lone_image(images, self.generator, self.discriminator)
        with torch.set_grad_enabled(generator_moves):
            fakes = self.generator(self.noise(len(images), "train", step)).to(images.dtype)
        refuse_other_size(fakes, images)

        d_loss, penalty, real, fake = self._discriminate(images, fakes, step)
        discriminator_optimizer.zero_grad()
        self.manual_backward(
            d_loss if penalty is None else d_loss + self.d_reg_interval * penalty,
            inputs=_moved_by(discriminator_optimizer),
        )
        discriminator_optimizer.step()
        outcome = {"d_loss": d_loss.detach()}
        if penalty is not None:
            outcome["d_penalty"] = penalty.detach()

        if generator_moves:
            fake_again = self._logits(self._seen(fakes, "fake again", step))
            real_again = self._logits(self._seen(images, "real again", step)) if self.gan_loss.paired else real
            g_loss = self.gan_loss.generator(real_again, fake_again)
            generator_optimizer.zero_grad()
            # It flows through the discriminator, but not into its weights, whose gradients nobody needs now.
            self.manual_backward(g_loss, inputs=_moved_by(generator_optimizer))
            generator_optimizer.step()
            outcome["g_loss"] = g_loss.detach()
            if self.ema is not None:
                self.ema.update_parameters(self.generator)
        for config in self.trainer.lr_scheduler_configs:
            config.scheduler.step()  # type: ignore[call-arg]
        return outcome, real, fake

    def _discriminate(
        self, images: Float[Tensor, "batch 1 28 28"], fakes: Float[Tensor, "batch 1 28 28"], step: int
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """The discriminator's loss, its penalty if this batch has one, its logits of real and of fake images."""
        penalised = any((self.r1, self.r2, self.gradient_penalty)) and (step + 1) % self.d_reg_interval == 0
        images = images.detach().requires_grad_(penalised and self.r1 > 0)
        fakes = fakes.detach().requires_grad_(penalised and self.r2 > 0)
        real, fake = self._both_logits(self._seen(images, "real", step), self._seen(fakes, "fake", step))
        penalty = self._penalty(images, fakes, real, fake, step) if penalised else None
        return self.gan_loss.discriminator(real, fake), penalty, real, fake

    def _both_logits(
        self, real: Float[Tensor, "batch 1 28 28"], fake: Float[Tensor, "batch 1 28 28"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        # One pass over both takes less time than two, but a penalty's gradient would go back through all of it.
        if real.requires_grad or fake.requires_grad or mixes_images(self.discriminator):
            return self._logits(real), self._logits(fake)
        real, fake = self._logits(torch.cat([real, fake])).chunk(2)
        return real, fake

    def _logits(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, " batch"]:
        """What the discriminator says, in the images' precision, in which losses are taken, whatever it computes in."""
        logits: Tensor = self.discriminator(images)
        return logits.to(images.dtype)

    def _penalty(self, images: Tensor, fakes: Tensor, real: Tensor, fake: Tensor, step: int) -> Tensor:
        penalty = torch.zeros((), device=self.device)
        if self.r1 > 0:
            penalty = penalty + self.r1 * r1_penalty(real, images)
        if self.r2 > 0:
            penalty = penalty + self.r2 * r2_penalty(fake, fakes)
        if self.gradient_penalty > 0:
            stream = self._stream("between", step)
            share = self.drawn(lambda n: torch.rand(n, generator=stream, device=self.device), len(images))
            mixed = interpolates(images, fakes, share).requires_grad_()  # no graph leads to it, both being leaves
            logits = self._logits(self._seen(mixed, "mixed", step))
            penalty = penalty + self.gradient_penalty * wgan_gp_penalty(logits, mixed)
        return penalty

    def _seen(self, images: Float[Tensor, "batch 1 28 28"], *key: int | str) -> Float[Tensor, "batch 1 28 28"]:
        """What the discriminator sees of them."""
        if self.diffaugment_translation == 0:
            return images
        stream = self._stream("shifts", *key)
        return translate(
            images, self.drawn(lambda n: random_shifts(n, self.diffaugment_translation, stream), len(images))
        )

    def _stream(self, purpose: str, *key: int | str) -> torch.Generator:
        return rng(self.seed_for(purpose), *key, device=self.device)

    def _log(self, losses: dict[str, Tensor], real: Tensor, fake: Tensor) -> None:
        # What a batch lacks, Lightning would log anew as long as it remembers it, which a resumed run doesn't.
        self._newest |= losses
        # Not when the batch has ended: by then callbacks have looked, and a checkpoint may be drawn up.
        if not self.is_read():
            return
        self.log_dict({f"train/{name}": loss for name, loss in self._newest.items()}, prog_bar=True)
        accuracy_real, accuracy_fake = accuracies(self.ranks.together(real), self.ranks.together(fake), self.gan_loss)
        self.log_dict(
            {
                "train/d_accuracy_real": accuracy_real,
                "train/d_accuracy_fake": accuracy_fake,
                "train/d_gradient_norm": _gradient_norm(self.discriminator),
                "train/g_gradient_norm": _gradient_norm(self.generator),
            }
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["newest_losses"] = {name: float(loss) for name, loss in self._newest.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        newest = checkpoint.get("newest_losses", {})
        self._newest = {str(name): float(loss) for name, loss in dict(newest).items()}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._classifier(batch, batch_idx, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._classifier(batch, batch_idx, "test")

    def _classifier(self, batch: tuple[Tensor, Tensor], batch_idx: int, split: str) -> None:
        """Logs the losses, and the share of real and of fake images that the discriminator takes for what they are."""
        images, _ = batch
        real = self.ranks.together(self._logits(images))
        fake = self.ranks.together(self._logits(self(self.noise(len(images), split, batch_idx))))
        accuracy_real, accuracy_fake = accuracies(real, fake, self.gan_loss)
        verdict = {
            "d_loss": self.gan_loss.discriminator(real, fake),
            "g_loss": self.gan_loss.generator(real, fake),
            "d_accuracy_real": accuracy_real,
            "d_accuracy_fake": accuracy_fake,
        }
        self.log_dict(
            {f"{split}/{name}": value for name, value in verdict.items()}, batch_size=len(real), sync_dist=True
        )

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Float[Tensor, "batch 1 28 28"]:
        """As many new images as the batch has."""
        images, _ = batch
        generated: Tensor = self(self.noise(len(images), "predict", batch_idx))
        return generated

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRSchedulerConfigType]]:  # type: ignore[override]
        optimizers = [
            self.generator_optimizer(self.generator.parameters()),
            self.discriminator_optimizer(self.discriminator.parameters()),
        ]
        factories = (self.generator_lr_scheduler, self.discriminator_lr_scheduler)
        schedulers = [
            scheduler_config(factory, optimizer)
            for factory, optimizer in zip(factories, optimizers, strict=True)
            if factory is not None
        ]
        return optimizers, schedulers


def _moved_by(optimizer: LightningOptimizer) -> list[nn.Parameter]:
    """The weights that it moves."""
    return [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]


def _gradient_norm(network: nn.Module) -> Float[Tensor, ""]:
    """Of the last step's gradients, which stay until the next."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
