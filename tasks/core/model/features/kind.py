"""What decides the bytes of a feature, besides the image."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.config import EmbedSettings, Fit, Precision
from tasks.core.data.decode import Target
from tasks.core.model.backbones import catalog
from tasks.core.model.backbones.declaration import Backbone
from tasks.core.model.features.feature_store import FeatureStore
from tasks.core.stage import code_hash
from tasks.core.stage.handles import Features, TensorCache
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace

FOLDER = "features"
VARIABLE = "PLUMBLINE_FEATURES"  # a folder that several workspaces share, in place of each one's own
LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "simplejpeg")


def settings_of(features: Features) -> EmbedSettings:
    """What features were asked for with."""
    given = features.manifest["ingredients"]["parameters"]
    return EmbedSettings(given["backbone"], given["image_size"], Precision(given["precision"]))


@dataclass(frozen=True)
class FeatureKind:
    """A kind of features.

    Args:
        backbone: Name of the backbone.
        image_size: Height and width of its images in pixels.
        views: 1, or 2 for the image and its mirror image.
        precision: What to calculate in.
        fit: How an image of other proportions becomes a square.
        layer: The layer whose output they are; empty for the backbone's features.
        grey_bits: Bits of the grey values of images that have more than 8.
    """

    backbone: str
    image_size: int
    views: int
    precision: Precision
    fit: str
    layer: str = ""
    grey_bits: int = 16

    @classmethod
    def of(cls, settings: EmbedSettings, tensors: TensorCache) -> "FeatureKind":
        """The kind that a run asks for; grey pictures are never mirrored."""
        backbone = catalog.find(settings.backbone)
        image_size = settings.image_size or backbone.image_size
        views = 2 if tensors.shape[2] == 3 else 1
        return cls(
            backbone.name,
            image_size,
            views,
            settings.precision,
            str(tensors.fit),
            grey_bits=tensors.grey_bits,
        )

    @property
    def declaration(self) -> Backbone:
        """The backbone's declaration."""
        return catalog.find(self.backbone)

    def record(self) -> dict[str, str | int]:
        """The kind as JSON values, with the hash of the weights."""
        weights = {"weights": self.declaration.weights.checksum.value}
        values = asdict(self) | weights | {"precision": str(self.precision)}
        return {name: value for name, value in values.items() if (name, value) != ("grey_bits", 16)}

    @property
    def dtype(self) -> np.dtype[Any]:
        """How features are kept: in half precision, unless float32 was asked for; maps always in half."""
        full = self.precision is Precision.float32 and not self.layer
        return np.dtype(np.float32 if full else np.float16)

    @property
    def target(self) -> Target:
        """How images are decoded for the backbone."""
        return Target((self.image_size, self.image_size), 3, Fit(self.fit), self.grey_bits)

    def store(self, workspace: Workspace, policy: str, processor: str) -> FeatureStore:
        """The store of this kind, as a device computes it.

        Args:
            workspace: Where it lies, unless the environment names a folder for all workspaces.
            policy: Keras' name of the precision that the device calculates in.
            processor: The kind of device.
        """
        modules = (f"{__package__}.extractor", self.declaration.module, "tasks.core.data.decode")
        root = Path(os.environ.get(VARIABLE) or workspace.root / FOLDER)
        device = {"precision": policy, "processor": processor}
        code = {"code": code_hash.hashes(*modules), "libraries": code_hash.libraries(*LIBRARIES)}
        return FeatureStore(root / hashing.digest_of(self.record() | device | code))
