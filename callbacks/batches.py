"""The count of training batches."""

from typing import Any

from lightning.pytorch import Trainer


def batches_trained(trainer: Trainer) -> int:
    """Returns how many batches the model was trained on, before a resume too, the present one included at its end.

    `trainer.global_step` counts optimizer steps: two for each batch of a GAN with two optimizers, and one for several
    batches when gradients are accumulated.
    """
    total: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    # A batch that an exception broke off is started and not processed; one that a hook skipped is only processed.
    batches: int = min(total.started, total.processed)
    return batches
