"""One HTTP request for the rest of a file, and how long to bear with the host."""

import re
import time
from dataclasses import dataclass

import httpx

from tasks.core.data.sources.partial_file import Partial
from tasks.core.progress import Progress

GONE = {401, 403, 404, 410, 451}  # statuses that another try does not change


@dataclass(frozen=True)
class RetryPolicy:
    """How long to bear with an address.

    Args:
        silence: Seconds without a byte after which a line counts as dropped.
        slow_rate: Bytes per second below which an address is left for the next one.
        slow_seconds: Over how many seconds that rate is measured.
        dead_rate: Bytes per second below which even the last address left counts as dropped.
        tries: Failures in a row, without headway between them, after which an address is left.
        headway: Bytes that count as headway; for small files 1 % of their size.
        pause: Seconds before the second try at an address; doubles with each failure in a row.
    """

    read_timeout: float = 20.0
    slow_rate: float = 128e3
    slow_seconds: float = 20.0
    dead_rate: float = 1e3
    tries: int = 3
    min_progress: int = 1 << 16
    backoff: float = 1.0


class ConnectionLost(Exception):  # noqa: N818 - events, handled in `download`, not errors for a person
    """The line broke; the bytes so far are kept."""


class TooSlow(Exception):  # noqa: N818
    """Under the set rate; another address may do better."""


class MirrorUnusable(Exception):  # noqa: N818
    """This address doesn't have the file."""


class WrongFile(MirrorUnusable):
    """This address has another file under the name."""


class Meter:
    """The rate of a transfer, over its latest `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.rate = 0.0  # bytes per second; over the first seconds of a window, that of the one before
        self._start, self._bytes = time.monotonic(), 0

    def add(self, count: int) -> bool:
        """Count bytes; True when a window is over and `rate` is new."""
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
        client: Its read timeout is the patience's `silence`.
        partial: What is to be filled.
        patience: How slow is too slow.
        progress: Told bytes so far, bytes in all, rate and time left.
    """

    def __init__(
        self, client: httpx.Client, partial: Partial, retry_policy: RetryPolicy, progress: Progress
    ) -> None:
        self.client, self.partial, self.retry_policy, self.progress = client, partial, retry_policy, progress
        self.received = 0

    def run(self, url: str, accept_slow: bool) -> None:
        """Ask `url` for what is missing; returns when nothing is.

        Raises:
            Dropped, Slow, Useless: The address did not deliver.
        """
        self.partial.prepare(url)
        if self.partial.size == self.partial.file.bytes:
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
        if self.partial.size < self.partial.file.bytes:
            raise ConnectionLost(f"ended after {self.partial.size} of {self.partial.file.bytes} bytes")

    def _begin(self, response: httpx.Response) -> int:
        """Look at status and announced size; the byte of the file at which the response begins."""
        status, expected = response.status_code, self.partial.file.bytes
        if status in GONE:
            raise MirrorUnusable(f"HTTP {status}")
        if status == 416:  # more bytes are here than the host has
            self.partial.restart()
        if status not in (200, 206):
            raise ConnectionLost(f"HTTP {status}")
        start, total = _announced(response)
        if total not in (None, expected):
            raise WrongFile(f"{total} bytes")
        if start > self.partial.size:
            raise MirrorUnusable(f"a part from byte {start} on, which was not asked for")
        return start

    def _take(self, url: str, response: httpx.Response, start: int, accept_slow: bool) -> None:
        """Append what is new; a host that ignores Range sends again what is here, which is passed over."""
        size, expected = self.partial.size, self.partial.file.bytes
        meter, display, known = Meter(self.retry_policy.slow_seconds), Meter(1.0), size - start
        with self.partial.path.open("ab", buffering=0) as sink:
            for chunk in response.iter_raw():
                self.received += len(chunk)
                fresh, known = chunk[known:], max(0, known - len(chunk))
                size += len(fresh)
                if size > expected:
                    raise WrongFile(f"more than {expected} bytes")
                if fresh:
                    self.partial.contribute(url)
                    sink.write(fresh)
                if display.add(len(chunk)):
                    self.progress(size, expected, _note(display.rate, expected - size))
                if meter.add(len(chunk)):
                    self._check_rate(meter.rate, accept_slow)
        self.progress(size, expected, "")

    def _check_rate(self, rate: float, accept_slow: bool) -> None:
        if rate < self.retry_policy.dead_rate:
            raise ConnectionLost(f"only {rate:.0f} bytes a second")
        if rate < self.retry_policy.slow_rate and not accept_slow:
            raise TooSlow(f"only {rate / 1e3:.0f} kB/s")


def _announced(response: httpx.Response) -> tuple[int, int | None]:
    """First byte of a response and size of the whole file, None if the host doesn't say."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match:
            raise MirrorUnusable("a partial answer that does not say which part")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _note(rate: float, left: int) -> str:
    seconds = left / rate if rate else 0
    wait = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{rate / 1e6:.2f} MB/s, {wait} left"
