"""A file on its way: beside its destination, outliving the process, verified before it gets its name."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.storage import atomic, hashing


@dataclass
class Partial:
    """The bytes so far of `file`, and what is known about the addresses that they came from.

    Args:
        file: What it is to become.
        destination: Its final path.
        refused: Addresses whose bytes had another SHA-256, with the reason.
        contributors: Addresses whose bytes are in the partial file.
        alone: Bytes of several addresses did not fit together, so that from now on each fills the file
            alone: it is clear then who is to blame.
    """

    file: RemoteFile
    destination: Path
    refused: dict[str, str] = field(default_factory=dict)
    contributors: list[str] = field(default_factory=list)
    single_source: bool = False

    @classmethod
    def open(cls, file: RemoteFile, destination: Path) -> "Partial":
        """Go on with what an earlier try left, if it did."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = cls(file, destination)
        if partial.notes.exists():
            vars(partial).update(json.loads(partial.notes.read_bytes()))
        return partial

    @property
    def path(self) -> Path:
        return self.destination.with_name(f".{self.destination.name}.part")

    @property
    def notes(self) -> Path:
        return self.destination.with_name(f".{self.destination.name}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def save(self) -> None:
        """Write down what is known, for the next process."""
        known = {"refused": self.refused, "contributors": self.contributors, "alone": self.single_source}
        atomic.write_bytes(self.notes, json.dumps(known).encode())

    def prepare(self, url: str) -> None:
        """Make way for `url` if bytes of others must not be mixed with its own."""
        if self.single_source and self.contributors not in ([], [url]):
            self.restart()

    def contribute(self, url: str) -> None:
        """Tell that the bytes to come are from `url`."""
        if url not in self.contributors:
            self.contributors.append(url)
            self.save()

    def refuse(self, url: str, why: str) -> None:
        """Never ask `url` again while this file is on its way, in later processes too."""
        self.refused[url] = why
        self.save()

    def restart(self) -> None:
        """Begin again at byte 0."""
        self.path.unlink(missing_ok=True)
        self.contributors = []
        self.save()

    def discard(self) -> None:
        """Keep nothing."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def finish(self) -> str:
        """Give the complete file its name if it is the right one; else begin again.

        Returns:
            What was wrong: empty, or the SHA-256 that it had instead.
        """
        found = hashing.sha256_file(self.path)
        if found != self.file.sha256:
            self.restart()
            return found
        atomic.sync(self.path)
        self.path.replace(self.destination)
        atomic.sync(self.destination.parent)
        self.notes.unlink(missing_ok=True)
        return ""
