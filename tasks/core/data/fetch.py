"""Downloads that survive: several addresses, resumed after drops, a slow host left for the next one."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tasks.core import lock
from tasks.core.data.known import RemoteFile
from tasks.core.data.partial import Partial
from tasks.core.data.transfer import Dropped, Patience, Slow, Transfer, Useless
from tasks.core.errors import ChecksumError, DataError, NetworkError
from tasks.core.progress import Progress, silent

log = logging.getLogger("plumbline.data")


def fetch(
    file: RemoteFile, destination: Path, *, patience: Patience | None = None, progress: Progress = silent
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
        ChecksumError: Every address that answered has other bytes.
        DataError: No address has the file.
    """
    with lock.exclusive(destination.parent.parent / f".{file.sha256}.lock"):
        if destination.exists():
            return 0
        partial = Partial.open(file, destination)
        timeout = (patience or Patience()).silence
        with httpx.Client(follow_redirects=True, timeout=timeout) as client:
            transfer = Transfer(client, partial, patience or Patience(), progress)
            log.info("downloading %s (%.1f MB)", file.name, file.bytes / 1e6)
            _Search(partial, transfer).run()
    return transfer.received


@dataclass
class _Search:
    """The search for an address that delivers: fast ones first, then those left for being slow."""

    partial: Partial
    transfer: Transfer
    problems: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        urls = self.partial.file.urls
        for bear_slowness in (False, True):
            for url in urls:
                only = not (set(urls) - set(self.partial.useless) - {url})
                if url not in self.partial.useless and self._stay(url, bear_slowness or only):
                    return
        raise self._failure()

    def _stay(self, url: str, bear_slowness: bool) -> bool:
        """Stay with one address while it makes headway; True when the file is whole and in its place."""
        patience, failures = self.transfer.patience, 0
        while failures < patience.tries:
            before = self.partial.size
            try:
                self.transfer.run(url, bear_slowness)
                return self._finish(url)
            except Dropped as error:
                headway = self.partial.size - before >= min(patience.headway, self.partial.file.bytes // 100)
                failures = 1 if headway else failures + 1
                self.problems[url] = str(error)
                time.sleep(patience.pause * 2 ** (failures - 1))
            except Slow as error:
                self.problems[url] = str(error)
                break
            except Useless as error:
                log.warning("%s: %s; not asked again", url, error)
                self.partial.refuse(url, str(error))
                return False
        log.info("%s: %s; trying the next address", url, self.problems[url])
        return False

    def _finish(self, url: str) -> bool:
        mixed = self.partial.contributors != [url]
        found = self.partial.finish()
        if not found:
            log.info("%s is verified: SHA-256 %s", self.partial.file.name, self.partial.file.sha256)
            return True
        if mixed:
            self.partial.alone = True
            self.partial.note()
            raise Dropped("bytes of several addresses do not fit together")
        raise Useless(f"other bytes, SHA-256 {found}")

    def _failure(self) -> DataError | NetworkError:
        file, useless = self.partial.file, self.partial.useless
        found = "; ".join(f"{url}: {why}" for url, why in {**self.problems, **useless}.items())
        parts = {
            "expected": f"{file.bytes} bytes with SHA-256 {file.sha256}",
            "found": found,
            "todo": "get the file elsewhere and pass it with --archive FILE",
        }
        if set(useless) < set(file.urls):
            parts |= {
                "done": f"{self.partial.size} bytes are kept; the next try goes on from there",
                "todo": "look at the network and run again, or pass the file with --archive FILE",
            }
            return NetworkError(f"{file.name} could not be downloaded", **parts)
        wrong = any("bytes" in why for why in useless.values())
        kind = ChecksumError if wrong else DataError
        return kind(f"No address has {file.name} as it should be", done="nothing was kept", **parts)
