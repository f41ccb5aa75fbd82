"""Robust downloads from several addresses: resumed after a lost connection, moved on from a slow host."""

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
    retry_policy: RetryPolicy | None = None,
    progress: Progress = ignore_progress,
    by_hand: str = "--archive FILE",
) -> int:
    """Download `file` to `destination`. If several processes call it at once, one of them downloads.

    Args:
        file: Addresses, size and checksum.
        destination: The final path. It only ever holds verified bytes, and is trusted if it exists.
        retry_policy: When to leave an address; the defaults if None.
        progress: Called with bytes so far and in all, and a note of the rate and the time left.
        by_hand: The option that takes the file from the user, for error messages.

    Returns:
        Bytes received over the network; 0 if the file existed.

    Raises:
        NetworkError: No address delivered, but another attempt may succeed. It resumes the partial file.
        ChecksumError: No address has the file, and at least one has another file instead.
        DataError: No address has the file, or the disk has no room for it.
    """
    with lock.exclusive(destination.parent.parent / f".{file.checksum.value}.lock"):
        if destination.exists():
            return 0
        partial = Partial.open(file, destination)
        _check_room(partial)
        timeout = (retry_policy or RetryPolicy()).read_timeout
        with httpx.Client(follow_redirects=True, timeout=timeout) as client:
            transfer = Transfer(client, partial, retry_policy or RetryPolicy(), progress)
            size = f"{file.bytes / 1e6:.1f} MB" if file.bytes else "of unknown size"
            log.info("downloading %s (%s)", file.name, size)
            _AddressSearch(partial, transfer, by_hand).run()
    return transfer.received


@dataclass
class _AddressSearch:
    """Tries addresses until one delivers: first with the minimum rate, then without it.

    Args:
        partial: The file.
        transfer: Fills it.
        by_hand: The option that takes the file from the user.
        problems: The latest problem with each address.
        unusable: Addresses that are not tried again in this search.
        wrong_file: Whether an address had another file.
    """

    partial: Partial
    transfer: Transfer
    by_hand: str
    problems: dict[str, str] = field(default_factory=dict)
    unusable: set[str] = field(default_factory=set)
    wrong_file: bool = False

    def run(self) -> None:
        self.problems |= self.partial.refused
        self.unusable |= set(self.partial.refused)
        self.wrong_file = bool(self.partial.refused)
        for accept_slow in (False, True):
            for url in self.partial.file.urls:
                if url not in self.unusable and self._try_address(url, accept_slow or self._is_last(url)):
                    return
        raise self._failure()

    def _is_last(self, url: str) -> bool:
        return set(self.partial.file.urls) - self.unusable == {url}

    def _try_address(self, url: str, accept_slow: bool) -> bool:
        """Use one address while it makes progress. Returns True once the file is complete and in place."""
        policy, failures = self.transfer.retry_policy, 0
        while failures < policy.tries:
            before = self.partial.size
            try:
                self.transfer.run(url, accept_slow)
                return self._finish(url)
            except ConnectionLost as error:
                progressed = self.partial.size - before >= min(
                    policy.min_progress, self.partial.total // 100 or policy.min_progress
                )
                failures = 1 if progressed else failures + 1
                self.problems[url] = str(error)
                time.sleep(policy.backoff * 2 ** (failures - 1) if failures < policy.tries else 0)
            except TooSlow as error:
                self.problems[url] = str(error)
                break
            except MirrorUnusable as error:
                self._give_up(url, error)
                return False
        log.info("%s: %s; trying the next address", url, self.problems[url])
        return False

    def _give_up(self, url: str, error: MirrorUnusable) -> None:
        log.warning("%s: %s; not tried again", url, error)
        self.problems[url] = str(error)
        self.unusable.add(url)
        self.wrong_file |= isinstance(error, WrongFile)

    def _finish(self, url: str) -> bool:
        is_mixed = self.partial.contributors != [url]
        wrong_checksum = self.partial.finish()
        if wrong_checksum is None:
            log.info("%s is verified: %s", self.partial.file.name, self.partial.file.checksum)
            return True
        if is_mixed:
            self.partial.single_source = True
            self.partial.save()
            raise ConnectionLost("the bytes of several addresses do not form the file")
        self.partial.refuse(url, f"other bytes, {wrong_checksum}")
        raise WrongFile(self.partial.refused[url])

    def _failure(self) -> DataError | NetworkError:
        file = self.partial.file
        parts = {
            "expected": (f"{file.bytes:,} bytes with " if file.bytes else "") + str(file.checksum),
            "found": "; ".join(f"{url}: {why}" for url, why in self.problems.items()),
            "todo": f"get the file from another source and pass it with {self.by_hand}",
        }
        if self.unusable < set(file.urls):
            parts |= {
                "done": f"{self.partial.size:,} bytes are kept; the next attempt resumes there",
                "todo": f"check the network and run again, or pass the file with {self.by_hand}",
            }
            return NetworkError(f"{file.name} could not be downloaded", **parts)
        self.partial.discard()
        error_type = ChecksumError if self.wrong_file else DataError
        return error_type(
            f"No address has {file.name} with the expected content", done="nothing was kept", **parts
        )


def _check_room(partial: Partial) -> None:
    missing, free = partial.file.bytes - partial.size, shutil.disk_usage(partial.path.parent).free
    if free < missing:
        raise DataError(
            f"The disk has no room for {partial.file.name}",
            expected=f"{missing / 1e6:,.1f} MB free in {partial.path.parent}",
            found=f"{free / 1e6:,.1f} MB",
            done="nothing was downloaded",
            todo="free disk space, or choose another folder with --workspace",
        )
