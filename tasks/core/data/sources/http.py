"""One HTTP request for the rest of a file, and the limits on how slow a host may be."""

import re
import time
from dataclasses import dataclass

import httpx

from tasks.core.data.sources.partial_file import Partial
from tasks.core.progress import Progress

PERMANENT_STATUSES = {401, 403, 404, 410, 451}  # HTTP statuses that another attempt does not change


@dataclass(frozen=True)
class RetryPolicy:
    """When an address is retried and when it is left.

    Three layers of retries have different purposes. The `tries` here resume at the same address after a lost
    connection. The list of addresses in `download` replaces an address that is slow or lacks the file. The 4
    retries of the Prefect task (after about 2, 4, 8 and 16 s) are for a network that fails for all addresses.
    All of them resume the same partial file.

    Args:
        read_timeout: Seconds without a byte after which the connection counts as lost.
        slow_rate: Bytes per second; a slower address is left for the next one.
        slow_seconds: Seconds over which that rate is measured.
        dead_rate: Bytes per second; below it the connection counts as lost, even of the last address.
        tries: Consecutive failures without progress after which an address is left.
        min_progress: Bytes that count as progress; for small files 1 % of their size.
        backoff: Seconds before the second attempt at an address; doubles with each consecutive failure.
    """

    read_timeout: float = 20.0
    slow_rate: float = 128e3
    slow_seconds: float = 20.0
    dead_rate: float = 1e3
    tries: int = 3
    min_progress: int = 1 << 16
    backoff: float = 1.0


class ConnectionLost(Exception):  # noqa: N818 - handled in `download`, never shown to the user
    """The connection broke; the bytes so far are kept."""


class TooSlow(Exception):  # noqa: N818
    """The rate is below the limit; another address may be faster."""


class MirrorUnusable(Exception):  # noqa: N818
    """This address does not have the file."""


class WrongFile(MirrorUnusable):
    """This address has another file under the name."""


class Meter:
    """Measures the rate of a transfer over windows of `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.rate = 0.0  # bytes per second over the last complete window
        self._start, self._bytes = time.monotonic(), 0

    def add(self, count: int) -> bool:
        """Count bytes. Returns True when a window is complete and `rate` is new."""
        self._bytes += count
        elapsed = time.monotonic() - self._start
        if elapsed < self.seconds:
            return False
        self.rate = self._bytes / elapsed
        self._start, self._bytes = time.monotonic(), 0
        return True


class Transfer:
    """Fills a partial file, one request after the other.

    Args:
        client: Its read timeout is the policy's `read_timeout`.
        partial: The file to fill.
        retry_policy: The limits on slow hosts.
        progress: Called with bytes so far and in all, and a note of the rate and the time left.
    """

    def __init__(
        self, client: httpx.Client, partial: Partial, retry_policy: RetryPolicy, progress: Progress
    ) -> None:
        self.client, self.partial, self.retry_policy, self.progress = client, partial, retry_policy, progress
        self.received = 0

    def run(self, url: str, accept_slow: bool) -> None:
        """Request what is missing from `url`; returns when the file is complete.

        Args:
            url: One address of the file.
            accept_slow: Whether a rate below `slow_rate` is acceptable.

        Raises:
            ConnectionLost, TooSlow, MirrorUnusable: The address did not deliver.
        """
        self.partial.prepare(url)
        if self.partial.total and self.partial.size == self.partial.total:
            return
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={self.partial.size}-"}
        try:
            with self.client.stream("GET", url, headers=headers) as response:
                start = self._begin(response)
                self._take(url, response, start, accept_slow)
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise MirrorUnusable(str(error)) from error
        except httpx.TransportError as error:
            raise ConnectionLost(str(error) or type(error).__name__) from error
        if self.partial.size < self.partial.total:
            raise ConnectionLost(f"ended after {self.partial.size:,} of {self.partial.total:,} bytes")

    def _begin(self, response: httpx.Response) -> int:
        """Check status and announced size. Returns the byte of the file at which the response starts."""
        status = response.status_code
        if status in PERMANENT_STATUSES:
            raise MirrorUnusable(f"HTTP {status}")
        if status == 416:  # the partial file is larger than the host's file
            self.partial.restart()
        if status not in (200, 206):
            raise ConnectionLost(f"HTTP {status}")
        start, total = _announced(response)
        if total is not None and total != (self.partial.total or total):
            raise WrongFile(f"{total:,} bytes")
        if total is not None:
            self.partial.announce(total)
        if start > self.partial.size:
            raise MirrorUnusable(f"a part from byte {start} on, which was not requested")
        return start

    def _take(self, url: str, response: httpx.Response, start: int, accept_slow: bool) -> None:
        """Append the new bytes. A host that ignores Range sends known bytes again, which are skipped."""
        size, expected = self.partial.size, self.partial.total
        meter, display, to_skip = Meter(self.retry_policy.slow_seconds), Meter(1.0), size - start
        with self.partial.path.open("ab", buffering=0) as sink:
            for chunk in response.iter_raw():
                self.received += len(chunk)
                new_bytes, to_skip = chunk[to_skip:], max(0, to_skip - len(chunk))
                size += len(new_bytes)
                if 0 < expected < size:
                    raise WrongFile(f"more than {expected} bytes")
                if new_bytes:
                    self.partial.contribute(url)
                    sink.write(new_bytes)
                if display.add(len(chunk)):
                    self.progress(size, expected or size, _note(display.rate, max(0, expected - size)))
                if meter.add(len(chunk)):
                    self._check_rate(meter.rate, accept_slow)
        self.progress(size, expected or size, "")

    def _check_rate(self, rate: float, accept_slow: bool) -> None:
        if rate < self.retry_policy.dead_rate:
            raise ConnectionLost(f"only {rate:.0f} bytes per second")
        if rate < self.retry_policy.slow_rate and not accept_slow:
            raise TooSlow(f"only {rate / 1e3:.0f} kB/s")


def _announced(response: httpx.Response) -> tuple[int, int | None]:
    """First byte of a response, and size of the complete file; None if the host does not announce it."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match:
            raise MirrorUnusable("a partial response without a valid Content-Range")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _note(rate: float, remaining: int) -> str:
    seconds = remaining / rate if rate else 0
    wait = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{rate / 1e6:.2f} MB/s, {wait} left"
