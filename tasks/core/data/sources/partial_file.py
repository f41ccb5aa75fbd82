"""A partially downloaded file beside its destination.

It outlives the process, and gets its final name only after its checksum was verified.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.storage import atomic
from tasks.core.storage.hashing import Checksum


@dataclass
class Partial:
    """The bytes so far of `file`, and what is known about the addresses that they came from.

    Args:
        file: The complete file.
        destination: Its final path.
        refused: Addresses whose bytes had another checksum, with the reason.
        contributors: Addresses whose bytes are in the partial file.
        single_source: Whether each address must fill the file alone. True once the bytes of several addresses
            did not form the file; it then becomes clear which one is wrong.
        announced: The size that a host announced, for a file of which no size is declared; 0 for none.
    """

    file: RemoteFile
    destination: Path
    refused: dict[str, str] = field(default_factory=dict)
    contributors: list[str] = field(default_factory=list)
    single_source: bool = False
    announced: int = 0

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
    def total(self) -> int:
        """Size of the complete file; 0 if it is not known yet."""
        return self.file.bytes or self.announced

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
            "announced": self.announced,
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

    def announce(self, size: int) -> None:
        """Record the size that a host announced."""
        if size != self.total:
            self.announced = size
            self.save()

    def refuse(self, url: str, why: str) -> None:
        """Never use `url` again for this file, in later processes either."""
        self.refused[url] = why
        self.save()

    def restart(self) -> None:
        """Start again at byte 0."""
        self.path.unlink(missing_ok=True)
        self.contributors, self.announced = [], 0
        self.save()

    def discard(self) -> None:
        """Remove the partial file and the notes."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def finish(self) -> Checksum | None:
        """Move the complete file to its destination if its checksum is right; restart otherwise.

        Returns:
            None if it was right, else its wrong checksum.
        """
        found = self.file.checksum.of(self.path)
        if found != self.file.checksum:
            self.restart()
            return found
        atomic.sync(self.path)
        self.path.replace(self.destination)
        atomic.sync(self.destination.parent)
        self.notes.unlink(missing_ok=True)
        return None
