"""Which images a version has seen: those of its train and val tensors, by content and by pixels.

An image is the same if its file has the same bytes, or if the version sees the same pixels: so a picture that
was saved again without loss is found, too. Pixels can be compared only where the tensors are as the version
takes images; a version with a backbone of its own size sees others.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.files.columns import GROUP
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.stage.handles import ModelVersion, TensorCache
from tasks.core.stage.stages import NORMALIZE
from tasks.core.workspace import Workspace

SPLITS = ("train", "val", "test")
BLOCK = 1 << 24  # bytes of images that are read at a time


@dataclass(frozen=True)
class SeenImages:
    """The images of a version's own run, by split.

    Args:
        ids: Strings, the image ids of each split.
        pixels: Digests of the pixels of each split; empty where they cannot be compared.
        groups: Names of the groups of train and val.
        not_checked: Why something could not be checked; empty if all was.
    """

    ids: dict[str, pa.Array] = field(default_factory=dict)
    pixels: dict[str, frozenset[bytes]] = field(default_factory=dict)
    groups: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    not_checked: str = ""

    def by_id(self, image_ids: pa.ChunkedArray, split: str) -> NDArray[np.bool_]:
        """Whether each image, by its id, is one of a split: bool (N,)."""
        if split not in self.ids:
            return np.zeros(len(image_ids), bool)
        return np.asarray(pc.is_in(image_ids, self.ids[split]), bool)

    def by_pixels(self, digests: list[bytes], split: str) -> NDArray[np.bool_]:
        """Whether each image, by `pixel_digests`, looks to the version like one of a split: bool (N,)."""
        known = self.pixels.get(split, frozenset())
        return np.array([digest in known for digest in digests], bool)


def tensors_of(version: ModelVersion, workspace: Workspace) -> TensorCache | None:
    """The tensors of the version's own run; None if they are no longer in the workspace."""
    return NORMALIZE.of_digest(str(version.manifest["facts"].get("tensors", "")) or "none", workspace)


def read(tensors: TensorCache | None, shape: tuple[int, ...], fit: str) -> SeenImages:
    """What a version has seen.

    Args:
        tensors: The tensors of its own run; None if they are gone.
        shape, fit: How the version takes images.
    """
    if tensors is None:
        return SeenImages(
            not_checked="not checked, because the tensors of its run are no longer in the workspace;"
            " images that it was trained on are scored, too"
        )
    rows = read_rows(tensors, ["split", "image_id", *([GROUP] if tensors.groups else [])])
    ids = {split: _of_split(rows, "image_id", split) for split in SPLITS}
    groups = pa.array([], pa.string())
    if tensors.groups:
        own = rows.filter(pc.is_in(rows["split"], pa.array(["train", "val"])))
        groups = pc.drop_null(own[GROUP]).unique()
    if tuple(tensors.shape) != tuple(shape) or str(tensors.fit) != str(fit):
        text = "compared by the bytes of the files, not by pixels: it takes images of another size than its"
        return SeenImages(ids, {}, groups, f"{text} tensors have")
    pixels = {
        split: frozenset(digest for digest in pixel_digests(open_split(tensors, split).images))
        for split in SPLITS
    }
    return SeenImages(ids, pixels, groups)


def pixel_digests(images: NDArray[np.uint8]) -> Iterator[bytes]:
    """A digest of the pixels of each image, uint8 (N, H, W, C); images are read in blocks."""
    step = max(1, BLOCK // max(1, int(np.prod(images.shape[1:]))))
    for start in range(0, len(images), step):
        for image in np.ascontiguousarray(images[start : start + step]):
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _of_split(rows: pa.Table, column: str, split: str) -> Any:
    return rows.filter(pc.equal(rows["split"], split))[column].combine_chunks()
