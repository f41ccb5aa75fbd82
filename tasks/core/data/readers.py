"""Reading raw datasets: one reader a kind, all alike to `tensors`."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tasks.core.data import archive, decode, listing
from tasks.core.data.decode import Pixels, Target
from tasks.core.data.form import Form
from tasks.core.errors import DecodeError
from tasks.core.handles import RawDataset
from tasks.core.workspace import Workspace


class Row(NamedTuple):
    """An image of a raw dataset, not decoded.

    Args:
        identity: The SHA-256 of its content: of the file, or of the pixels where images aren't files.
        path: Where it is in the source, for a person.
        split: "train", "val", "test", or "" where the source has no splits.
        label: 0..classes-1.
    """

    identity: str
    path: str
    split: str
    label: int


@dataclass(frozen=True)
class Decoded:
    """An image as it came out of the decoder; `image` and `original` as `decode.decode` gives them."""

    row: int
    image: Pixels
    original: tuple[int, int, int]


@dataclass(frozen=True)
class Failed:
    """An image that couldn't be read, and why."""

    row: int
    reason: str


class Reader(Protocol):
    """A raw dataset, opened.

    Attributes:
        classes: Class names; their order is the labels' meaning.
        shape: Height, width, channels if the source fixes them, else None.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, int, int] | None: ...

    def rows(self) -> list[Row]:
        """All images, in the source's own order."""
        ...

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        """Decode the images with the numbers `wanted` (ascending), in any order."""
        ...


def open_raw(raw: RawDataset) -> Reader:
    """The reader for a raw dataset's kind."""
    if raw.kind == "folder":
        return Folder(Path(raw.root), listing.read(raw.directory))
    form = Form.of_json(raw.manifest["ingredients"]["parameters"]["form"])
    return Digits(form) if raw.kind == "digits" else Cifar(form, _only_file(raw))


def libraries(kind: str) -> tuple[str, ...]:
    """Distributions whose versions decide what the reader of a kind gives."""
    extra = {"digits": ("scikit-learn",), "folder": ("simplejpeg",)}
    return ("numpy", "pillow", *extra.get(kind, ()))


def _only_file(raw: RawDataset) -> Path:
    (file,) = listing.read(raw.directory)
    return Workspace.active().root / raw.root / file.path


class Digits:
    """The 1,797 handwritten digits inside scikit-learn (8x8, 17 grey levels, from UCI's optdigits)."""

    def __init__(self, form: Form) -> None:
        from sklearn.datasets import load_digits  # half a second, for this source only

        self.classes, self.shape = form.classes, form.shape
        bunch = load_digits()
        self._images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
        self._labels = bunch.target

    def rows(self) -> list[Row]:
        return [
            Row(_identity(image), f"digits#{number}", "", int(label))
            for number, (image, label) in enumerate(zip(self._images, self._labels, strict=True))
        ]

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        for row in wanted:
            yield Decoded(row, decode.fit(self._images[row], target), self.shape)


class Cifar:
    """CIFAR's binary archives, read through twice: one member (30 MB) is in memory at a time."""

    def __init__(self, form: Form, path: Path) -> None:
        self.classes, self.shape = form.classes, form.shape
        self._form, self._path = form, path

    def rows(self) -> list[Row]:
        rows = []
        for name, split, block in archive.records(self._path, self._form):
            images, labels = archive.images(block, self._form), archive.labels(block, self._form)
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                rows.append(Row(_identity(image), f"{name}#{number}", split, int(label)))
        return rows

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        asked, row = set(wanted), -1
        for _, _, block in archive.records(self._path, self._form):
            for image in archive.images(block, self._form):
                row += 1
                if row in asked:
                    yield Decoded(row, decode.fit(image, target), self.shape)


class Folder:
    """Image files in class folders."""

    shape = None

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


def _identity(image: Pixels) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()
