"""Sends signals to the process of the tests. Not a test."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sent_when(number: signal.Signals, condition: Callable[[], bool]) -> Iterator[None]:
    """Sends this process the signal as soon as the condition holds."""

    def send() -> None:
        while not condition():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield
    thread.join()
