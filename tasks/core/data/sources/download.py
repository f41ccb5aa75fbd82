"""Downloads that survive: several addresses, resumed after drops, a slow host left for the next one."""

import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.data.sources.http import (
    ConnectionLost,
    MirrorUnusable,
    RetryPolicy,
    TooSlow,
    Transfer,
    WrongFile,
)
from tasks.core.data.sources.partial_file import Partial
from tasks.core.errors import ChecksumError, DataError, NetworkError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.storage import lock

log = logging.getLogger("plumbline.data")


def fetch(
    file: RemoteFile,
    destination: Path,
    *,
    patience: RetryPolicy | None = None,
    progress: Progress = ignore_progress,
) -> int:
    """Bring `file` to `destination`; several processes may ask at once, one of them downloads.

    Args:
        file: Addresses, size and SHA-256.
        destination: The final path; it only ever holds verified bytes and is trusted if it exists.
        patience: When to leave an address; the defaults if None.
        progress: Told bytes so far, bytes in all, rate and time left.

    Returns:
        Bytes that came over the network; 0 if the file was there.

    Raises:
        NetworkError: No address delivered, but another try may help; it goes on from the partial file.
        ChecksumError: No address has the file, and at least one has another file instead.
        DataError: No address has the file, or there is no room for it.
    """
    with lock.exclusive(destination.parent.parent / f".{file.sha256}.lock"):
        if destination.exists():
            return 0
        partial = Partial.open(file, destination)
        _check_room(partial)
        timeout = (patience or RetryPolicy()).read_timeout
        with httpx.Client(follow_redirects=True, timeout=timeout) as client:
            transfer = Transfer(client, partial, patience or RetryPolicy(), progress)
            log.info("downloading %s (%.1f MB)", file.name, file.bytes / 1e6)
            _Search(partial, transfer).run()
    return transfer.received


@dataclass
class _Search:
    """The search for an address that delivers: fast ones first, then those left for being slow.

    Args:
        partial: The file.
        transfer: Fills it.
        problems: The latest trouble with each address.
        useless: Addresses that are not asked again in this search.
        other: Whether one of them had another file.
    """

    partial: Partial
    transfer: Transfer
    problems: dict[str, str] = field(default_factory=dict)
    useless: set[str] = field(default_factory=set)
    other: bool = False

    def run(self) -> None:
        self.problems |= self.partial.refused
        self.useless |= set(self.partial.refused)
        self.other = bool(self.partial.refused)
        for bear_slowness in (False, True):
            for url in self.partial.file.urls:
                if url not in self.useless and self._stay(url, bear_slowness or self._is_last(url)):
                    return
        raise self._failure()

    def _is_last(self, url: str) -> bool:
        return set(self.partial.file.urls) - self.useless == {url}

    def _stay(self, url: str, bear_slowness: bool) -> bool:
        """Stay with one address while it makes headway; True when the file is whole and in its place."""
        patience, failures = self.transfer.retry_policy, 0
        while failures < patience.tries:
            before = self.partial.size
            try:
                self.transfer.run(url, bear_slowness)
                return self._finish(url)
            except ConnectionLost as error:
                headway = self.partial.size - before >= min(
                    patience.min_progress, self.partial.file.bytes // 100
                )
                failures = 1 if headway else failures + 1
                self.problems[url] = str(error)
                time.sleep(patience.backoff * 2 ** (failures - 1) if failures < patience.tries else 0)
            except TooSlow as error:
                self.problems[url] = str(error)
                break
            except MirrorUnusable as error:
                self._give_up(url, error)
                return False
        log.info("%s: %s; trying the next address", url, self.problems[url])
        return False

    def _give_up(self, url: str, error: MirrorUnusable) -> None:
        log.warning("%s: %s; not asked again", url, error)
        self.problems[url] = str(error)
        self.useless.add(url)
        self.other |= isinstance(error, WrongFile)

    def _finish(self, url: str) -> bool:
        mixed = self.partial.contributors != [url]
        found = self.partial.finish()
        if not found:
            log.info("%s is verified: SHA-256 %s", self.partial.file.name, self.partial.file.sha256)
            return True
        if mixed:
            self.partial.single_source = True
            self.partial.save()
            raise ConnectionLost("bytes of several addresses do not fit together")
        self.partial.refuse(url, f"other bytes, SHA-256 {found}")
        raise WrongFile(self.partial.refused[url])

    def _failure(self) -> DataError | NetworkError:
        file = self.partial.file
        parts = {
            "expected": f"{file.bytes} bytes with SHA-256 {file.sha256}",
            "found": "; ".join(f"{url}: {why}" for url, why in self.problems.items()),
            "todo": "get the file elsewhere and pass it with --archive FILE",
        }
        if self.useless < set(file.urls):
            parts |= {
                "done": f"{self.partial.size} bytes are kept; the next try goes on from there",
                "todo": "look at the network and run again, or pass the file with --archive FILE",
            }
            return NetworkError(f"{file.name} could not be downloaded", **parts)
        self.partial.discard()
        kind = ChecksumError if self.other else DataError
        return kind(f"No address has {file.name} as it should be", done="nothing was kept", **parts)


def _check_room(partial: Partial) -> None:
    missing, free = partial.file.bytes - partial.size, shutil.disk_usage(partial.path.parent).free
    if free < missing:
        raise DataError(
            f"There is no room for {partial.file.name}",
            expected=f"{missing / 1e6:,.1f} MB free in {partial.path.parent}",
            found=f"{free / 1e6:,.1f} MB",
            done="nothing was downloaded",
            todo="make room, or choose another place with --workspace",
        )
