"""Progress reports from core code, which does not know who receives them."""

import time
from typing import Protocol


class Progress(Protocol):
    """Callback for progress reports. It may be called at any rate, so a receiver limits its own output.

    Args:
        done: Units done so far (bytes, images, epochs).
        total: Total number of units; 0 if unknown.
        note: A short text for the user, such as "1,200 img/s, 40 s left".
    """

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Receive one report."""


def ignore_progress(done: float, total: float, note: str = "") -> None:
    """Discard a progress report; the default where no callback is given."""


def duration(seconds: float) -> str:
    """Format a duration in seconds for the user.

    >>> duration(0.42), duration(42.3), duration(372), duration(7320)
    ('0.4 s', '42 s', '6 m 12 s', '2 h 02 m')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds_left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {seconds_left:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


REPORT_INTERVAL = 0.2  # seconds between reports


class ProgressMeter:
    """Counts units of work and reports them every `REPORT_INTERVAL` seconds.

    Args:
        total: Total number of units.
        unit: Name of a unit in the reported rate, such as "img".
        progress: Called with units done, and with the rate and the remaining time as note.
    """

    def __init__(self, total: int, unit: str, progress: Progress) -> None:
        self.total, self.unit, self.progress = total, unit, progress
        self.done, self._start = 0, time.monotonic()
        self._next = self._start + REPORT_INTERVAL

    def step(self, count: int = 1) -> None:
        """Add `count` units; report if the interval has passed or all units are done."""
        self.done += count
        now = time.monotonic()
        if now >= self._next or self.done == self.total:
            self._next = now + REPORT_INTERVAL
            rate = self.done / max(now - self._start, 1e-9)
            remaining = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
            self.progress(self.done, self.total, f"{rate:,.0f} {self.unit}/s{remaining}")
