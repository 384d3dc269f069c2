"""Stands in for `twofold fit` in tests of reports and sweeps: trains nothing, but leaves what a run leaves. Not a test.

    stand_in_training.py fit -c any.yaml --x=0.3 [--steps=5] [--pause=0.02] [--does=fails|refuses|silent|diverges]

Logs `score`, which is x, after each step. Between two steps it sleeps for `pause` seconds.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    folder = Path(os.environ["TWOFOLD_RUNS"])
    with (folder / "starts.txt").open("a") as starts:
        print(*sys.argv[1:], file=starts)
    if "--ckpt_path" in sys.argv:
        run = Path(sys.argv[3]).parent
        options = json.loads((run / "config.yaml").read_text())
    else:
        run = folder / "stand_in" / "20260101-000000-abcd"
        options = dict(option.removeprefix("--").split("=") for option in sys.argv[4:])
        if options.get("does") == "refuses":
            print("twofold: there is no setting --x here", file=sys.stderr)
            return 2
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(json.dumps(options))
        (run / "run.json").write_text(json.dumps({"id": run.name}))
    does = options.get("does")
    if does == "fails":
        print("twofold: the run failed: no luck", file=sys.stderr)
        return 1
    table = run / "metrics.csv"
    if not table.exists():
        table.write_text(f"step,{'other' if does == 'silent' else 'score'}\n")
    steps = int(options.get("steps", 5))
    for step in range(len(table.read_text().splitlines()) - 1, steps):
        time.sleep(float(options.get("pause", 0)))
        value = "nan" if does == "diverges" and step == steps - 1 else options["x"]
        with table.open("a") as file:
            file.write(f"{step},{value}\n")
    (run / "run.json").write_text(json.dumps({"id": run.name, "state": "finished", "step": steps}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
