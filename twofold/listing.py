"""`twofold runs`: which runs there are, how far they got, and how to go on."""

import shlex
from pathlib import Path

import yaml

from twofold.errors import UsageError
from twofold.run_folder import FACTS, RunFolder, runs_root
from twofold.schedules import end_with_the_run


def list_runs(arguments: list[str]) -> int:
    """Prints one row a run, oldest first."""
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: twofold runs\n\nlists the runs under runs/ (or $TWOFOLD_RUNS) and how to go on with each")
        return 0
    if arguments:
        raise UsageError(f"`twofold runs` takes no arguments, but got '{arguments[0]}'")
    root = runs_root()
    if root.exists() and not root.is_dir():
        raise UsageError(f"$TWOFOLD_RUNS is {root}, which is no folder; write a folder's path")
    folders = [RunFolder(path.parent) for path in sorted(root.glob(f"*/*/{FACTS}"), key=_run_order)]
    if not folders:
        print(f"no runs under {root} yet; start one with: twofold fit -c configs/palindrome_lstm.yaml")
        return 0
    rows = [("run", "step", "state", "go on with")]
    for folder in folders:
        over = folder.state == "running" or folder.facts.get("ended_by_itself") or _at_its_end(folder)
        rows.append((str(folder.path), f"{folder.step:,}", folder.state, "" if over else resume_command(folder)))
    path, step, state, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    for row in rows:
        print(f"{row[0]:<{path}}  {row[1]:>{step}}  {row[2]:<{state}}  {row[3]}".rstrip())
    return 0


def resume_command(folder: RunFolder) -> str:
    """What to type to go on with a run; one that is finished takes a larger number of steps."""
    further = " --trainer.max_steps MORE" if folder.facts.get("state") == "finished" else ""
    return f"twofold fit -c {shlex.quote(str(folder.config))} --ckpt_path last{further}"


def _at_its_end(folder: RunFolder) -> bool:
    """Whether it is finished, and its learning rates are, too."""
    try:
        return folder.state == "finished" and end_with_the_run(yaml.safe_load(folder.config.read_text()))
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError, KeyError):  # whatever the file holds now
        return False


def _run_order(facts: Path) -> tuple[str, str]:
    return facts.parent.name, facts.parent.parent.name
