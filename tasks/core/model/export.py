"""Writing a model so that the same weights are the same bytes."""

import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first date


def write_keras(model: keras.Model, path: Path) -> None:
    """Save in Keras' format, then write the archive again with fixed dates."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({"keras_version": metadata["keras_version"]}).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    path.write_bytes(buffer.getvalue())


def write_weights(model: keras.Model, path: Path) -> None:
    """Every weight by its path within the model, as `.npz` without pickle."""
    np.savez(
        path,
        allow_pickle=False,
        **{weight.path.replace("/", "."): np.asarray(weight) for weight in model.weights},
    )
