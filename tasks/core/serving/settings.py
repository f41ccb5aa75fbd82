"""What the server accepts, and how it refuses a request."""

from dataclasses import dataclass
from http import HTTPStatus

from tasks.core import shares


@dataclass(frozen=True)
class Limits:
    """Limits of requests.

    Args:
        max_bytes: Largest body of a request.
        max_pixels: Most pixels of an image, by its header.
        max_images: Most images in a request.
        queue: Most requests that are answered at the same time; further ones get 503.
        held_bytes: Most bytes of bodies in memory; a request that would exceed it gets 503.
        body_seconds: Time until a body must have arrived, else 408.
        header_seconds: Time until a request's header must have arrived, else the connection is closed.
    """

    max_bytes: int = 16 << 20
    max_pixels: int = 50_000_000
    max_images: int = 64
    queue: int = 128
    held_bytes: int = 256 << 20
    body_seconds: float = 20.0
    header_seconds: float = 20.0


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is answered with an HTTP status and a reason.

    Args:
        status: The status.
        reason: Text for the client.
    """

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Admission:
    """Counts the requests that are being answered, and the bytes of their bodies."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.bytes = 0

    def enter(self) -> None:
        """Admit a request.

        Raises:
            Refused: There are too many.
        """
        if self.requests >= self.limits.queue:
            raise busy(f"{shares.said(self.requests, 'request is', 'requests are')} waiting already")
        self.requests += 1

    def hold(self, count: int) -> None:
        """Account for bytes of a body.

        Raises:
            Refused: Too many bytes are in memory.
        """
        if self.bytes + count > self.limits.held_bytes:
            raise busy("too many bytes are waiting already")
        self.bytes += count

    def leave(self, held: int) -> None:
        """Forget a request whose body has `held` bytes."""
        self.requests -= 1
        self.bytes -= held


def busy(reason: str) -> Refused:
    """A refusal that asks the client to come back."""
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, reason)
