"""How fast work goes and how long it still takes, in words."""

import time

from tasks.core.progress import Progress

EVERY = 0.2  # seconds between reports


class Pace:
    """Counts units of work and reports them a few times a second.

    Args:
        total: Units in all.
        unit: What a person calls one of them.
        progress: Who listens.
    """

    def __init__(self, total: int, unit: str, progress: Progress) -> None:
        self.total, self.unit, self.progress = total, unit, progress
        self.done, self._start = 0, time.monotonic()
        self._next = self._start + EVERY

    def step(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now >= self._next or self.done == self.total:
            self._next = now + EVERY
            rate = self.done / max(now - self._start, 1e-9)
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
            self.progress(self.done, self.total, f"{rate:,.0f} {self.unit}/s{left}")
