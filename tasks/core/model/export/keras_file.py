"""Writing a model so that the same weights are the same bytes."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

SHARED = "shared_object_id"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first date


def write_keras(model: keras.Model, path: Path) -> None:
    """Save in Keras' format, then write the archive again with fixed dates and numbers."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({"keras_version": metadata["keras_version"]}).encode()
    members["config.json"] = json.dumps(_numbered(json.loads(members["config.json"]), {})).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    path.write_bytes(buffer.getvalue())


def _numbered(config: Any, numbers: dict[int, int]) -> Any:
    """The configuration with shared objects numbered in their order: Keras names them by memory address."""
    if isinstance(config, list):
        return [_numbered(one, numbers) for one in config]
    if not isinstance(config, dict):
        return config
    return {
        name: numbers.setdefault(value, len(numbers)) if name == SHARED else _numbered(value, numbers)
        for name, value in config.items()
    }


def write_weights(model: keras.Model, path: Path) -> None:
    """Every weight by its path within the model, as `.npz` without pickle."""
    np.savez(
        path,
        allow_pickle=False,
        **{weight.path.replace("/", "."): np.asarray(weight) for weight in model.weights},
    )
