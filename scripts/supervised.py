"""`twofold` for a process that watches over it: python -m scripts.supervised fit …

When its standard input ends, for its parent holds the other end and has died, it stops as it does on SIGTERM, or is
killed if that takes more than a minute.
"""

import os
import signal
import sys
import threading
import time

from twofold.main import main

SECONDS_TO_STOP = 60
"""In which a training that is told to stop finishes its batch and saves a checkpoint."""


def _stop_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_STOP)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    sys.exit(main())
