"""Loads a model file of the user and makes a backbone of it, without running any code of the file."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from tasks.core.errors import UsageError
from tasks.core.model.backbones.declaration import Backbone

IMAGE_SIZE = 224  # pixels, for a model that takes any size
MIN_IMAGE_SIZE = 32
CONFIG = "config.json"  # in the zip file
OWN_MODULES = {"keras", "builtins"}  # a function of Keras has the module "builtins"
CODE = {"Lambda", "__lambda__"}  # hold code of the file
TAKES = "photos, uint8 or float (N, H, W, 3), with H = W or any size"
GIVES = "features, float (N, D)"


def build(backbone: Backbone, weights: Path, image_size: int) -> keras.Model:
    """Build a backbone of a model file. It calculates in the precision that it was saved with.

    Args:
        backbone: Its declaration.
        weights: The file.
        image_size: Height and width of the images in pixels.

    Returns:
        Model from raw uint8 images (N, image_size, image_size, 3) to features, float32 (N, D).

    Raises:
        UsageError: It cannot be used as a backbone.
    """
    model = load(weights)
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="photos")
    values = inputs
    if model.inputs[0].dtype != "uint8":
        values = keras.layers.Rescaling(1.0, dtype=model.inputs[0].dtype, name="as_float")(values)
    features = keras.layers.Activation("linear", dtype="float32", name="features")(model(values))
    return keras.Model(inputs, features, name="backbone")


def facts(file: Path) -> dict[str, int | None]:
    """What a model file takes and gives: image sizes in pixels, and the number of features.

    Raises:
        UsageError: It cannot be used as a backbone.
    """
    model = load(file)
    size = model.inputs[0].shape[1]
    return {
        "image_size": size or IMAGE_SIZE,
        "min_image_size": size or MIN_IMAGE_SIZE,
        "max_image_size": size,
        "features": model.outputs[0].shape[1],
    }


def load(file: Path) -> keras.Model:
    """Load a model of Keras' own layers.

    Raises:
        UsageError: The file is no model, needs code that Keras does not have, or takes and gives other things
            than a backbone.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            foreign = sorted(set(foreign_names(json.loads(archive.read(CONFIG)))))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise _refused(file, f"no model: {error}") from error
    if foreign:
        raise _refused(file, ", ".join(foreign))
    try:
        model = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises errors of many types for a file that it cannot read
        raise _refused(file, f"{type(error).__name__}: {str(error).strip()[:200]}") from error
    if not _is_backbone(model):
        shapes = [(tensor.dtype, tensor.shape) for tensor in (*model.inputs, *model.outputs)]
        raise _refused(file, " and ".join(f"{dtype} {shape}" for dtype, shape in shapes))
    return model


def foreign_names(config: Any) -> Iterator[str]:
    """What a model's configuration needs besides Keras' own classes and functions.

    Args:
        config: The content of `config.json`; JSON values. Keras writes each class with its module, and a
            registered name with ">" if the class or function is not its own.
    """
    if isinstance(config, list):
        for entry in config:
            yield from foreign_names(entry)
    if isinstance(config, dict):
        name, module = str(config.get("class_name")), config.get("module")
        registered = f"{config.get('registered_name')} {config['config'] if name == 'function' else ''}"
        is_own = str(module).partition(".")[0] in OWN_MODULES and ">" not in registered
        if "class_name" in config and (name in CODE or ("module" in config and not is_own)):
            yield f"{module or 'keras'}.{name}"
        for entry in config.values():
            yield from foreign_names(entry)


def _is_backbone(model: keras.Model) -> bool:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return False
    taken, given = model.inputs[0], model.outputs[0]
    is_image = len(taken.shape) == 4 and taken.shape[1] == taken.shape[2] and taken.shape[3] == 3
    is_number = taken.dtype == "uint8" or "float" in taken.dtype
    return is_image and is_number and len(given.shape) == 2 and given.shape[1] and "float" in given.dtype


def _refused(file: Path, found: str) -> UsageError:
    return UsageError(
        f"{file} cannot be used as a backbone",
        expected=f"a Keras model of Keras' own layers, without Lambda: {TAKES}, to {GIVES}",
        found=found,
        done="nothing was computed",
    )
