"""Handles of images: the source, its tensors, what was found in them, and their features."""

from dataclasses import dataclass

from tasks.core import shares
from tasks.core.stage.handles.handle import Handle
from tasks.core.storage import hashing

UNUSED_FILES = "unused_files"  # the ingredient of a listing that names the files that are no images


@dataclass(frozen=True)
class RawDataset(Handle):
    """The source images: a verified archive, or a listing of a folder with the SHA-256 of each file.

    Args:
        dataset: The name under which models, tables and reports are stored.
        format: The reader, a key of `factory.READERS`: "folder" for archives of one, too.
        root: Where the images are: relative to the workspace for archives, absolute for folders, empty for
            bundled data.
        images: Number of images in all splits.
        unused_files: Number of files that are no images, each named in `quarantine.parquet`.
    """

    dataset: str
    format: str
    root: str
    images: int
    unused_files: int = 0

    @property
    def images_digest(self) -> str:
        """The digest that the listing would have without files that are no images.

        These files decide no tensor: a note or a video beside the photos must not train a model again.
        """
        record = self.manifest["ingredients"]
        inputs = {name: digest for name, digest in record["inputs"].items() if name != UNUSED_FILES}
        return hashing.digest_of(record | {"inputs": inputs})

    def __str__(self) -> str:
        unused = (
            f", {shares.said(self.unused_files, 'other file', 'other files')}" if self.unused_files else ""
        )
        return f"{self.dataset}: {shares.counted(self.images, 'image')}{unused}"


@dataclass(frozen=True)
class TensorCache(Handle):
    """Decoded images of one shape as uint8 arrays, split into train, val and test.

    Args:
        dataset: As in `RawDataset`.
        classes: Class names; a label is an index into them.
        shape: Height, width and channels of an image.
        train, val, test: Number of images in each split.
        quarantined: Number of images that were left out.
        fit: How images of other proportions became `shape`: "crop", "pad" or "stretch".
        groups: Number of groups in train, val and test; empty where the data have no groups.
        grey_bits: Bits of the grey values of images that have more than 8.
    """

    dataset: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: int
    val: int
    test: int
    quarantined: int
    fit: str = "crop"
    groups: tuple[int, ...] = ()
    grey_bits: int = 16

    @property
    def grey_facts(self) -> dict[str, int]:
        """The fact of a model's manifest that says how grey values of more than 8 bits are read."""
        return {"grey_bits": self.grey_bits} if self.grey_bits != 16 else {}

    def __str__(self) -> str:
        height, width, channels = self.shape
        counts = f"{self.train:,} train, {self.val:,} val, {self.test:,} test"
        aside = f", {self.quarantined:,} set aside" if self.quarantined else ""
        groups = f" in {' + '.join(f'{count:,}' for count in self.groups)} groups" if self.groups else ""
        return f"{counts} images of {height}x{width}x{channels}{groups}, {len(self.classes)} classes{aside}"


@dataclass(frozen=True)
class Audit(Handle):
    """The audit of a tensor cache: duplicates, leaks and outliers.

    Args:
        findings: One sentence per finding, for the console.
    """

    findings: tuple[str, ...]

    def __str__(self) -> str:
        if not self.findings:
            return "nothing unusual"
        more = len(self.findings) - 1
        return self.findings[0] + (f", and {more} more finding{'s' if more > 1 else ''}" if more else "")


@dataclass(frozen=True)
class FeatureAudit(Audit):
    """The audit of a tensor cache, completed by features: it has the pairs and leaks of the audit, too.

    Args:
        findings: One sentence per finding by features, for the console.
    """


@dataclass(frozen=True)
class Features(Handle):
    """Features of all images by a backbone: `{train,val,test}.features.npy`, float16 (N, views, D).

    Args:
        backbone: Name of the backbone.
        images: Number of images in all splits.
        computed: How many were computed for this output; the store had the others.
    """

    backbone: str
    images: int
    computed: int

    def __str__(self) -> str:
        reused = self.images - self.computed
        known = f", {reused:,} of them known" if reused else ""
        return f"{self.backbone}, {shares.counted(self.images, 'image')}{known}"
