"""How core code tells how far it is, without knowing who listens."""

import time
from typing import Protocol


class Progress(Protocol):
    """Called as often as the work likes; a listener bounds its own rate.

    Args:
        done: Units done so far (bytes, images, epochs).
        total: Units in all; 0 if unknown.
        note: A few words for a person, such as "1,200 img/s, 40 s left".
    """

    def __call__(self, done: float, total: float, note: str = "") -> None: ...


def ignore_progress(done: float, total: float, note: str = "") -> None:
    """Listen to nothing."""


def duration(seconds: float) -> str:
    """Seconds in the form people say.

    >>> duration(0.42), duration(42.3), duration(372), duration(7320)
    ('0.4 s', '42 s', '6 m 12 s', '2 h 02 m')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


REPORT_INTERVAL = 0.2  # seconds between reports


class ProgressMeter:
    """Counts units of work and reports them a few times a second.

    Args:
        total: Units in all.
        unit: What a person calls one of them.
        progress: Who listens.
    """

    def __init__(self, total: int, unit: str, progress: Progress) -> None:
        self.total, self.unit, self.progress = total, unit, progress
        self.done, self._start = 0, time.monotonic()
        self._next = self._start + REPORT_INTERVAL

    def step(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now >= self._next or self.done == self.total:
            self._next = now + REPORT_INTERVAL
            rate = self.done / max(now - self._start, 1e-9)
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
            self.progress(self.done, self.total, f"{rate:,.0f} {self.unit}/s{left}")
