"""Published files carry their class names and their input: each is opened alone, without our code."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tasks.core.config import ExportName
from tasks.core.model.export import formats, keras_file
from tasks.core.model.export.description import Description, labels_text

pytestmark = pytest.mark.slow
CLASSES = ("cat", "sea\nlion", "Löwe 🦁", "a\\b", "line\u2028end", "")
LABELS = ["cat", "sea\\nlion", "Löwe 🦁", "a\\\\b", "line\\u2028end", ""]  # as lines of labels.txt
DESCRIPTION = Description("animals", CLASSES, (8, 8, 3), "pad", "fast")

ONNX = """
import onnxruntime
session = onnxruntime.InferenceSession(FILE)
found = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
found["probabilities"] = session.run(None, {session.get_inputs()[0].name: image})[0].tolist()
"""
KERAS = """
with zipfile.ZipFile(FILE) as archive:
    found = json.loads(archive.read("metadata.json"))["plumbline"]
import keras
found["probabilities"] = np.asarray(keras.models.load_model(FILE)(image)).tolist()
"""
LITERT = """
with zipfile.ZipFile(FILE) as archive:
    found = json.loads(archive.read("plumbline.json"))
    found["labels"] = archive.read("labels.txt").decode()
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
content = open(FILE, "rb").read()
model = schema.Model.GetRootAsModel(content, 0)
buffers = {}
for number in range(model.MetadataLength()):
    entry = model.Metadata(number)
    buffers[entry.Name().decode()] = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
found["metadata"] = list(buffers["TFLITE_METADATA"])
interpreter = tf.lite.Interpreter(FILE)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
interpreter.invoke()
found["probabilities"] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist()
"""
SAVED_MODEL = """
import tensorflow as tf
found = json.load(open(f"{FILE}/assets.extra/plumbline.json"))
found["labels"] = open(f"{FILE}/assets.extra/labels.txt", encoding="utf-8", newline="").read()
saved = tf.saved_model.load(FILE)
found["probabilities"] = saved.serve(image).numpy().tolist()
"""
PROGRAMS = {
    "model.onnx": ONNX,
    "model.keras": KERAS,
    "model.tflite": LITERT,
    "model_int8.tflite": LITERT,
    "saved_model": SAVED_MODEL,
}
ALONE = """
import json, sys, zipfile
import numpy as np
answers = {}
for file, code in json.loads(sys.argv[1]).items():
    names = {"FILE": file, "image": np.load("image.npy"), "json": json, "np": np, "zipfile": zipfile}
    exec(code, names)
    answers[file] = names["found"]
assert not {"tasks", "flows"} & set(sys.modules)
print(json.dumps(answers))
"""


def write_model(path: Path, described: Description | None = DESCRIPTION) -> None:
    """A model of 8x8 colour images, six classes."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="images")
    values = keras.layers.Rescaling(1 / 255, name="scaling")(inputs)
    values = keras.layers.Conv2D(4, 3, activation="relu", name="convolution")(values)
    values = keras.layers.GlobalAveragePooling2D(name="pool")(values)
    outputs = keras.layers.Dense(len(CLASSES), activation="softmax", name="probabilities")(values)
    keras_file.write_keras(keras.Model(inputs, outputs, name="model"), path, described)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in all formats, with an image and Keras' probabilities of it."""
    folder = tmp_path_factory.mktemp("labels")
    write_model(folder / "source.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    np.save(folder / "image.npy", image)
    np.save(folder / "expected.npy", keras.models.load_model(folder / "source.keras")(image))
    for name in ExportName:
        formats.write_export(folder / "source.keras", name, folder, np.repeat(image, 4, 0), DESCRIPTION)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What each program finds in its file, without our code: one process, since TensorFlow takes 4 s."""
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE, json.dumps(PROGRAMS)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout.splitlines()[-1]))


def assert_same_probabilities(folder: Path, found: list[list[float]], difference: float = 1e-5) -> None:
    np.testing.assert_allclose(found, np.load(folder / "expected.npy"), atol=difference)


@pytest.mark.parametrize(
    ("name", "line"), [("cat", "cat\n"), ("a\r\nb", "a\\r\\nb\n"), ("\\n", "\\\\n\n"), ("\x85", "\\u0085\n")]
)
def test_labels_text_escapes_line_breaks(name: str, line: str) -> None:
    assert labels_text([name]) == line


def test_labels_text_has_one_line_per_class() -> None:
    assert labels_text(CLASSES).splitlines() == LABELS
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert len(labels_text(every).splitlines()) == len(every)


def test_keras_file_with_description_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_model(tmp_path / f"{name}.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


def test_keras_file_has_no_null_keys_that_older_versions_refuse(tmp_path: Path) -> None:
    """Keras 3.5 to 3.13 know no `input_axes`, and refuse it and `quantization_config` as null."""
    write_model(tmp_path / "one.keras")
    with zipfile.ZipFile(tmp_path / "one.keras") as archive:
        config = archive.read("config.json").decode()
    assert '"module"' in config
    assert '"quantization_config": null' not in config
    assert '"input_axes": null' not in config


def test_keras_file_has_class_names_and_input(folder: Path, found: dict[str, Any]) -> None:
    in_file = dict(found["model.keras"])
    assert_same_probabilities(folder, in_file.pop("probabilities"))
    assert in_file == {
        "format": 1,
        "dataset": "animals",
        "recipe": "fast",
        "classes": list(CLASSES),
        "input": {
            "dtype": "uint8",
            "layout": "NHWC",
            "height": 8,
            "width": 8,
            "channels": 3,
            "range": [0, 255],
            "fit": "pad",
        },
        "output": "probabilities",
    }


def test_onnx_file_has_class_names_and_input(folder: Path, found: dict[str, Any]) -> None:
    in_file = found["model.onnx"]
    assert_same_probabilities(folder, in_file["probabilities"])
    assert in_file["classes"] == list(CLASSES)
    assert in_file["input"] == DESCRIPTION.facts()["input"]


@pytest.mark.parametrize(("file", "difference"), [("model.tflite", 1e-5), ("model_int8.tflite", 0.05)])
def test_litert_file_has_labels_as_associated_file(
    folder: Path, found: dict[str, Any], file: str, difference: float
) -> None:
    in_file = found[file]
    assert_same_probabilities(folder, in_file["probabilities"], difference)
    assert in_file["labels"].splitlines() == LABELS
    assert in_file["classes"] == list(CLASSES)
    metadata = bytes(in_file["metadata"])
    assert metadata[4:8] == b"M001"
    assert b"labels.txt\0" in metadata


def test_saved_model_has_labels_beside_the_graph(folder: Path, found: dict[str, Any]) -> None:
    in_file = found["saved_model"]
    assert_same_probabilities(folder, in_file["probabilities"])
    assert in_file["labels"].splitlines() == LABELS
    assert in_file["classes"] == list(CLASSES)
