"""Writes models so that equal weights give byte-identical files."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tasks.core.model.export.description import KEY, Description

# Written as null where they are not used; versions of Keras before those that know them refuse them.
NEW_KEYS = frozenset({"quantization_config", "input_axes"})
SHARED_OBJECT_ID = "shared_object_id"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first date


def write_keras(model: keras.Model, path: Path, description: Description | None = None) -> None:
    """Save a model in Keras' format, then rewrite the archive with fixed dates and object numbers.

    Keys that only new versions of Keras know are left out where they are null, so that older ones read it.

    Args:
        model: The model.
        path: Path of the file.
        description: Put into the archive's `metadata.json`, from which Keras reads nothing.
    """
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = {"keras_version": json.loads(members["metadata.json"])["keras_version"]}
    if description is not None:
        metadata[KEY] = description.facts()
    members["metadata.json"] = json.dumps(metadata).encode()
    members["config.json"] = json.dumps(_renumber(json.loads(members["config.json"]), {})).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    path.write_bytes(buffer.getvalue())


def _renumber(config: Any, numbers: dict[int, int]) -> Any:
    """Number the shared objects of a configuration in their order; Keras names them by memory address.

    Null values of `NEW_KEYS` are left out.
    """
    if isinstance(config, list):
        return [_renumber(entry, numbers) for entry in config]
    if not isinstance(config, dict):
        return config
    return {
        name: numbers.setdefault(value, len(numbers))
        if name == SHARED_OBJECT_ID
        else _renumber(value, numbers)
        for name, value in config.items()
        if value is not None or name not in NEW_KEYS
    }


def write_weights(model: keras.Model, path: Path) -> None:
    """Write every weight under its path in the model, as `.npz` without pickle."""
    np.savez(
        path,
        allow_pickle=False,
        **{weight.path.replace("/", "."): np.asarray(weight) for weight in model.weights},
    )
