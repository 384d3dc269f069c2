"""One step is one batch.

Lightning's `global_step` counts optimizer steps, so with two optimizers every batch counts twice: `max_steps: 1000`
would stop after 500 batches (https://github.com/Lightning-AI/pytorch-lightning/issues/17958). The manual-optimization
loop hears of a step through two hooks that it sets on each optimizer just before it calls `training_step`.
"""

from lightning.pytorch.core.optimizer import LightningOptimizer, do_nothing_closure


def dont_count(optimizer: LightningOptimizer) -> None:
    """Keeps this optimizer's steps out of `global_step` until the end of the batch.

    Call it first thing in `training_step`, for every optimizer but the one that steps exactly once per batch.
    """
    optimizer._on_before_step = do_nothing_closure
    optimizer._on_after_step = do_nothing_closure
