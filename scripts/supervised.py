"""`twofold` for a process that watches over it: python -m scripts.supervised fit …

When its standard input ends, for its parent holds the other end and has died, it stops as it does on SIGTERM.
"""

import os
import signal
import sys
import threading

from runtime.cli import main


def _stop_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    sys.exit(main())
