"""No profiler, as long as nobody asks for one."""

from contextlib import AbstractContextManager, nullcontext

from lightning.pytorch.profilers import PassThroughProfiler

_NOTHING = nullcontext()


class Unprofiled(PassThroughProfiler):
    """Measures nothing, as Lightning's own does, but makes no new context for each of a batch's 150 hooks."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return _NOTHING
