"""Which of the processes that run a command this is; known before there is a process group."""

import sys

from lightning.pytorch.utilities.rank_zero import rank_zero_only


def is_rank_zero() -> bool:
    """Whether this is the only process or the first one, as the launcher's environment variables say."""
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]


@rank_zero_only
def warn(line: str) -> None:
    """Prints one line to stderr, on rank 0 only."""
    print(f"twofold: {line}", file=sys.stderr)
