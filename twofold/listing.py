"""`twofold runs`: the runs, their progress, and how to resume them."""

import shlex

import yaml

from twofold.errors import OneLineParser, UsageError
from twofold.resume import ends_with_schedule
from twofold.run_folder import FACTS, RunFolder, runs_root


def list_runs(arguments: list[str]) -> int:
    """Prints one row per run, oldest first."""
    about = "Lists the runs under runs/ (or $TWOFOLD_RUNS) and how to resume each."
    OneLineParser(prog="twofold runs", description=about).parse_args(arguments)
    root = runs_root()
    if root.exists() and not root.is_dir():
        raise UsageError(f"$TWOFOLD_RUNS is {root}, which is no folder; write a folder's path")
    folders = [RunFolder(path.parent) for path in sorted(root.glob(f"*/*/{FACTS}"), key=lambda path: path.parent.name)]
    if not folders:
        print(f"no runs under {root} yet; start one with: twofold fit -c palindrome_lstm")
        return 0
    rows = [("run", "step", "state", "resume with")]
    for folder in folders:
        over = folder.state == "running" or "callbacks" in folder.ended_by or _schedule_is_over(folder)
        rows.append((str(folder.path), f"{folder.step:,}", folder.state, "" if over else resume_command(folder)))
    path, step, state, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    for row in rows:
        print(f"{row[0]:<{path}}  {row[1]:>{step}}  {row[2]:<{state}}  {row[3]}".rstrip())
    return 0


def resume_command(folder: RunFolder) -> str:
    """The command that resumes a run; a finished one needs larger limits."""
    more = [f"--trainer.{limit} MORE" for limit in folder.ended_by]
    return " ".join(["twofold fit -c", shlex.quote(folder.config.as_posix()), "--ckpt_path last", *more])


def _schedule_is_over(folder: RunFolder) -> bool:
    try:
        return ends_with_schedule(folder, yaml.safe_load(folder.config.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError, KeyError):  # someone edited the file
        return False
