"""Many processes run one command, and the first of them decides: which run it is, from which checkpoint it goes on.

The processes that Lightning starts run the same command anew, with what the first decided in their environment. Those
that torchrun or SLURM start ask it over the store by which torch's processes find each other.
"""

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from twofold.errors import UsageError, code_of, one_line

DECIDED = "TWOFOLD_DECIDED"
"""What the first process decided, for those that it starts."""

HEARD = "heard"
"""How many processes know what was decided."""

LONGEST_END = 60
"""Seconds that the first process waits for the others before it ends."""

LONGEST_WAIT = timedelta(minutes=10)
"""For a process that is to start together with this one."""

Decision = dict[str, Any]


class Ended(SystemExit):
    """The first process ended here, and has said why."""


class Processes:
    """The processes that run this command, as far as their environment tells before there is a trainer.

    Attributes:
        rank: of this one; 0 is the first.
    """

    def __init__(self) -> None:
        self._environment = _started_from_outside()
        self._parent = os.getppid()
        outside = self._environment
        self.rank = int(os.environ.get("LOCAL_RANK") or 0) if outside is None else outside.global_rank()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_heard(self) -> bool:
        """Whether it falls to this one to say that another has died."""
        first_here = self._environment is not None and self._environment.local_rank() == 0
        return self.is_first or first_here or os.getppid() != self._parent

    def refuse_other_number(self, devices: Any, num_nodes: int) -> None:
        """Raises UsageError unless the trainer's settings ask for as many processes as were started from outside."""
        if self._environment is None:
            if num_nodes > 1:
                raise UsageError(
                    f"--trainer.num_nodes {num_nodes} needs a process on each machine; start them by torchrun or srun, "
                    "see scripts/slurm.sh"
                )
            return
        devices = len(devices) if isinstance(devices, list) else devices
        asked = int(devices) * num_nodes if str(devices).isdecimal() else None
        count = self._environment.world_size()
        if asked not in (None, count):
            raise UsageError(
                f"{count} processes were started and the settings ask for {asked}; write --trainer.num_nodes for the "
                "machines and --trainer.devices for the processes on each"
            )

    def decide(self, decision: Callable[[], Decision]) -> Decision:
        """What the first process decided, in plain values; only there the function is called.

        Raises:
            Ended: in the other processes, if the function raised in the first.
        """
        if self._environment is None or self._environment.world_size() == 1:
            return self._among_our_own(decision)
        # The store stays as long as this object, for torch to use the same one later.
        self._store = self._meet(self._environment)
        if self.is_first:
            try:
                decided = decision()
            except BaseException as error:
                self._tell({"code": code_of(error)}, self._environment.world_size() - 1)
                raise
            self._tell({"decided": decided}, self._environment.world_size() - 1)
            return decided
        told = json.loads(self._store.get(DECIDED))
        self._store.add(HEARD, 1)
        if "code" in told:
            raise Ended(told["code"])
        heard: Decision = told["decided"]
        return heard

    def _among_our_own(self, decision: Callable[[], Decision]) -> Decision:
        if self.is_first:
            decided = decision()
            os.environ[DECIDED] = json.dumps(decided)
            return decided
        if DECIDED not in os.environ:
            raise UsageError("LOCAL_RANK is set, though nobody started many processes; unset it, or use torchrun")
        heard: Decision = json.loads(os.environ[DECIDED])
        return heard

    def _tell(self, told: Decision, others: int) -> None:
        """Waits until all have heard: the store ends with this process, and who came too late would look for it."""
        self._store.set(DECIDED, json.dumps(told))
        deadline = time.monotonic() + LONGEST_END
        while self._store.add(HEARD, 0) < others and time.monotonic() < deadline:
            time.sleep(0.1)

    def _meet(self, environment: "Outside") -> dist.Store:
        os.environ["MASTER_ADDR"] = environment.main_address
        os.environ["MASTER_PORT"] = str(environment.main_port)
        store, _, _ = next(dist.rendezvous("env://", self.rank, environment.world_size(), timeout=LONGEST_WAIT))
        return dist.PrefixStore(f"twofold {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


Outside = TorchElasticEnvironment | SLURMEnvironment


def _started_from_outside() -> Outside | None:
    """What torchrun or SLURM say of this process and those they started with it; None where it was neither."""
    try:
        return next(
            (environment() for environment in (TorchElasticEnvironment, SLURMEnvironment) if environment.detect()), None
        )
    except RuntimeError as error:  # SLURM was asked for tasks in a way that Lightning can't take
        raise UsageError(one_line(error)) from error
