"""Sources whose images are encoded files."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.core.data import decode, listing
from tasks.core.data.decode import Target
from tasks.core.data.reader import Decoded, Failed, Row
from tasks.core.errors import DecodeError


class Folder:
    """Image files below one folder, as a listing says."""

    shape = None
    published = False

    def __init__(self, root: Path, files: list[listing.File]) -> None:
        self.classes = tuple(sorted({file.class_name for file in files}))
        self._root, self._files = root, files

    def rows(self) -> list[Row]:
        labels = {name: label for label, name in enumerate(self.classes)}
        return [Row(file.sha256, file.path, file.split, labels[file.class_name]) for file in self._files]

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        for row in wanted:
            yield self._image(row, target)

    def _image(self, row: int, target: Target) -> Decoded | Failed:
        listed = self._files[row]
        try:
            with (self._root / listed.path).open("rb", buffering=0) as file:
                content = file.read()
            if hashlib.sha256(content).hexdigest() != listed.sha256:
                return Failed(row, "changed after it was listed")
            return Decoded(row, *decode.decode(content, target))
        except OSError as error:
            return Failed(row, f"not readable: {error.strerror}")
        except DecodeError as error:
            return Failed(row, error.summary)
