"""A request to stop waits for `min_steps` and `min_epochs`."""

from typing import Any

from lightning.pytorch import Callback, Trainer


def may_stop(trainer: Trainer) -> bool:
    """Whether the run has had its `min_steps` and `min_epochs`."""
    return trainer.global_step >= (trainer.min_steps or 0) and _epochs(trainer) >= (trainer.min_epochs or 0)


def stops(trainer: Trainer) -> bool:
    """Whether a callback stops the run, and it has had its `min_steps` and `min_epochs`."""
    return bool(trainer.should_stop) and may_stop(trainer)


def is_last_batch_of_run(trainer: Trainer) -> bool:
    """Whether the batch just trained reaches `max_steps` or `max_epochs`, or a callback stops the run after it."""
    return (
        0 <= trainer.max_steps <= trainer.global_step
        or (trainer.is_last_batch and _epochs(trainer) + 1 == trainer.max_epochs)
        or stops(trainer)
    )


def _epochs(trainer: Trainer) -> int:
    """Returns the number of epochs that are over; `trainer.current_epoch` still lacks one in `on_train_epoch_end`."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    epochs: int = progress.processed
    return epochs


class PostponedStop(Callback):
    """Stops a run that a callback wants to stop, as soon as it has had its `min_steps` and `min_epochs`.

    Lightning waits for them, too. But while `trainer.should_stop` is set, it takes every batch for the last one and
    logs it. This callback has to come after those that stop the run. The checkpoint holds whether a stop waits.
    """

    def __init__(self) -> None:
        self._waits = False

    def on_train_start(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        asked = trainer.should_stop or self._waits
        trainer.should_stop = asked and may_stop(trainer)
        self._waits = asked and not trainer.should_stop

    on_train_batch_end = on_train_start
    on_validation_end = on_train_start
    on_train_epoch_end = on_train_start

    def state_dict(self) -> dict[str, Any]:
        return {"waits": self._waits}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._waits = state_dict["waits"]
