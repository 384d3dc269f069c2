"""A game: a generator turns noise into digits, a discriminator tells them from real ones, and both learn."""

import torch
from jaxtyping import Float
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lightning_modules.reproducible import ReproducibleModule, scheduler_config
from lightning_modules.step_counting import dont_count
from networks.objectives import discriminator_loss, nonsaturating_loss
from networks.seeding import generator, latent_noise


class GAN(ReproducibleModule):
    """Goodfellow's game (https://arxiv.org/abs/1406.2661) with the non-saturating loss for the generator.

    Each batch is one step: the discriminator moves first, then the generator, judged by the discriminator as it is now.
    One pass of the generator serves both. Logs `train/d_loss` and `train/g_loss` of each batch.

    Args:
        generator: noise `(batch, latent_dim)` → images `(batch, 1, 28, 28)` in [−1, 1]; has a number `latent_dim`.
        discriminator: images → logits `(batch,)`, above 0 for "real".
        generator_optimizer: class or partial that takes the generator's parameters.
        discriminator_optimizer: class or partial that takes the discriminator's parameters.
        generator_lr_scheduler: class or partial that takes the generator's optimizer; steps with every batch.
        discriminator_lr_scheduler: the same for the discriminator's.
        ema_decay: keep an exponential moving average of the generator with this decay, in (0, 1), and draw all
            pictures from it. The average covers BatchNorm's running statistics too, so that they belong to the
            averaged weights. None: no average.

    Raises:
        ValueError: when the generator has no `latent_dim`, `ema_decay` lies outside (0, 1), or a scheduler is
            ReduceLROnPlateau, which waits for a metric.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimizer: OptimizerCallable = torch.optim.Adam,
        discriminator_optimizer: OptimizerCallable = torch.optim.Adam,
        generator_lr_scheduler: LRSchedulerCallable | None = None,
        discriminator_lr_scheduler: LRSchedulerCallable | None = None,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(getattr(generator, "latent_dim", None), int):
            raise ValueError(f"{type(generator).__name__} needs a whole number `latent_dim`, the length of its noise")
        if ema_decay is not None and not 0 < ema_decay < 1:
            raise ValueError(f"ema_decay is {ema_decay}; write a number between 0 and 1, such as 0.999, or null")
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_lr_scheduler = generator_lr_scheduler
        self.discriminator_lr_scheduler = discriminator_lr_scheduler
        self.ema_decay = ema_decay
        self.ema: AveragedModel | None = None
        if ema_decay is not None:
            self.ema = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)
            self.ema.requires_grad_(False)
        self.keep_arguments()
        for name in ("generator_lr_scheduler", "discriminator_lr_scheduler"):
            scheduler = self.hparams[name]
            if scheduler is not None and scheduler["name"].endswith("ReduceLROnPlateau"):
                raise ValueError(f"{name} steps with every batch, so it can't be ReduceLROnPlateau; try StepLR")

    @property
    def sampling_generator(self) -> nn.Module:
        """The generator to draw pictures from: the averaged one if there is one."""
        return self.generator if self.ema is None else self.ema.module

    def forward(self, noise: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 28 28"]:
        return self.sampling_generator(noise)

    def noise(self, batch_size: int, *key: int | str) -> Float[Tensor, "batch latent"]:
        """Standard normal noise that depends on the run's seed and `key` alone."""
        return latent_noise(self.generator, batch_size, generator(self.seed_for("noise"), *key, device=self.device))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        generator_optimizer, discriminator_optimizer = self.optimizers()  # type: ignore[attr-defined]
        dont_count(generator_optimizer)
        images, _ = batch
        fakes = self.generator(self.noise(len(images), "train", self.trainer.global_step))

        d_loss = discriminator_loss(self.discriminator(images), self.discriminator(fakes.detach()))
        discriminator_optimizer.zero_grad()
        self.manual_backward(d_loss)
        discriminator_optimizer.step()

        # The generator's loss flows through the discriminator, whose own gradients nobody needs now.
        with self.toggled_optimizer(generator_optimizer):
            g_loss = nonsaturating_loss(self.discriminator(fakes))
            generator_optimizer.zero_grad()
            self.manual_backward(g_loss)
            generator_optimizer.step()

        if self.ema is not None:
            self.ema.update_parameters(self.generator)
        for config in self.trainer.lr_scheduler_configs:
            config.scheduler.step()  # type: ignore[call-arg]
        self.log_dict({"train/d_loss": d_loss, "train/g_loss": g_loss}, prog_bar=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._judge(batch, batch_idx, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._judge(batch, batch_idx, "test")

    def _judge(self, batch: tuple[Tensor, Tensor], batch_idx: int, split: str) -> None:
        """Logs the losses, and the share of real and of fake images that the discriminator takes for what they are."""
        images, _ = batch
        real = self.discriminator(images)
        fake = self.discriminator(self(self.noise(len(images), split, batch_idx)))
        verdict = {
            "d_loss": discriminator_loss(real, fake),
            "g_loss": nonsaturating_loss(fake),
            "d_accuracy_real": (real > 0).float().mean(),
            "d_accuracy_fake": (fake < 0).float().mean(),
        }
        self.log_dict({f"{split}/{name}": value for name, value in verdict.items()}, batch_size=len(images))

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Float[Tensor, "batch 1 28 28"]:
        """As many new images as the batch has."""
        images, _ = batch
        return self(self.noise(len(images), "predict", batch_idx))

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
