"""Tells whether the machine stood still: a thread that wants to wake up every few milliseconds notes by how much it is late.
What a gateway did wrong while nobody got a processor says little about the gateway."""

import threading
import time

EVERY_S = 0.02
# So late, once, or so late in all, and a limit of seconds may have been passed for no fault of anybody.
ONCE_S = 0.4
SHARE = 0.5


class Watch:
    """Watches from `with` to its end."""

    def __init__(self):
        self.longest, self.late, self.begun, self.over = 0.0, 0.0, time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.spent = time.monotonic() - self.begun

    def _run(self):
        before = time.monotonic()
        while not self.over.wait(EVERY_S):
            now = time.monotonic()
            late = now - before - EVERY_S
            self.longest, self.late, before = max(self.longest, late), self.late + max(0.0, late), now

    @property
    def stalled(self):
        """Whether it stood still for long enough to matter."""
        return self.longest > ONCE_S or self.late > max(ONCE_S, SHARE * self.spent)

    @property
    def seconds(self):
        """For how long it did."""
        return self.late
