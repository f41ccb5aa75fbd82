"""A partially downloaded file beside its destination.

It outlives the process, and gets its final name only after its SHA-256 was verified.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.storage import atomic, hashing


@dataclass
class Partial:
    """The bytes so far of `file`, and what is known about the addresses that they came from.

    Args:
        file: The complete file.
        destination: Its final path.
        refused: Addresses whose bytes had another SHA-256, with the reason.
        contributors: Addresses whose bytes are in the partial file.
        single_source: Whether each address must fill the file alone. True once the bytes of several addresses
            did not form the file; it then becomes clear which one is wrong.
    """

    file: RemoteFile
    destination: Path
    refused: dict[str, str] = field(default_factory=dict)
    contributors: list[str] = field(default_factory=list)
    single_source: bool = False

    @classmethod
    def open(cls, file: RemoteFile, destination: Path) -> "Partial":
        """Resume what an earlier attempt left, if there is any."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = cls(file, destination)
        if partial.notes.exists():
            vars(partial).update(json.loads(partial.notes.read_bytes()))
        return partial

    @property
    def path(self) -> Path:
        """The partial file."""
        return self.destination.with_name(f".{self.destination.name}.part")

    @property
    def notes(self) -> Path:
        """The JSON file with the fields that outlive the process."""
        return self.destination.with_name(f".{self.destination.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def save(self) -> None:
        """Write the notes for the next process."""
        notes = {
            "refused": self.refused,
            "contributors": self.contributors,
            "single_source": self.single_source,
        }
        atomic.write_bytes(self.notes, json.dumps(notes).encode())

    def prepare(self, url: str) -> None:
        """Restart if the bytes of `url` must not be mixed with those of other addresses."""
        if self.single_source and self.contributors not in ([], [url]):
            self.restart()

    def contribute(self, url: str) -> None:
        """Record that the next bytes are from `url`."""
        if url not in self.contributors:
            self.contributors.append(url)
            self.save()

    def refuse(self, url: str, why: str) -> None:
        """Never use `url` again for this file, in later processes either."""
        self.refused[url] = why
        self.save()

    def restart(self) -> None:
        """Start again at byte 0."""
        self.path.unlink(missing_ok=True)
        self.contributors = []
        self.save()

    def discard(self) -> None:
        """Remove the partial file and the notes."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def finish(self) -> str:
        """Move the complete file to its destination if its SHA-256 is right; restart otherwise.

        Returns:
            Empty if it was right, else its wrong SHA-256.
        """
        sha256 = hashing.sha256_file(self.path)
        if sha256 != self.file.sha256:
            self.restart()
            return sha256
        atomic.sync(self.path)
        self.path.replace(self.destination)
        atomic.sync(self.destination.parent)
        self.notes.unlink(missing_ok=True)
        return ""
