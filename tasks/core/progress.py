"""How core code tells how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called as often as the work likes; a listener bounds its own rate.

    Args:
        done: Units done so far (bytes, images, epochs).
        total: Units in all; 0 if unknown.
        note: A few words for a person, such as "1,200 img/s, 40 s left".
    """

    def __call__(self, done: float, total: float, note: str = "") -> None: ...


def silent(done: float, total: float, note: str = "") -> None:
    """Listen to nothing."""
