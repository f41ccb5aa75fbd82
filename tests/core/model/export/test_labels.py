"""Published files carry their class names and their input: each is opened alone, without our code."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

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


def alone(folder: Path, code: str) -> dict:
    """Run a program in the folder, without our code; returns the JSON that it prints."""
    start = "import json, sys, zipfile; import numpy as np; image = np.load('image.npy')\n"
    end = "\nassert not {'tasks', 'flows'} & set(sys.modules)\nprint(json.dumps(found))"
    command = [sys.executable, "-I", "-W", "ignore", "-c", start + code + end]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


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


def test_keras_file_has_class_names_and_input(folder: Path) -> None:
    code = """
with zipfile.ZipFile("model.keras") as archive:
    found = json.loads(archive.read("metadata.json"))["plumbline"]
import keras
found["probabilities"] = np.asarray(keras.models.load_model("model.keras")(image)).tolist()
"""
    found = alone(folder, code)
    assert_same_probabilities(folder, found.pop("probabilities"))
    assert found == {
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


def test_onnx_file_has_class_names_and_input(folder: Path) -> None:
    code = """
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
found = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
found["probabilities"] = session.run(None, {session.get_inputs()[0].name: image})[0].tolist()
"""
    found = alone(folder, code)
    assert_same_probabilities(folder, found["probabilities"])
    assert found["classes"] == list(CLASSES)
    assert found["input"] == DESCRIPTION.facts()["input"]


@pytest.mark.parametrize(("file", "difference"), [("model.tflite", 1e-5), ("model_int8.tflite", 0.05)])
def test_litert_file_has_labels_as_associated_file(folder: Path, file: str, difference: float) -> None:
    code = f"""
with zipfile.ZipFile("{file}") as archive:
    found = json.loads(archive.read("plumbline.json"))
    found["labels"] = archive.read("labels.txt").decode()
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
content = open("{file}", "rb").read()
model = schema.Model.GetRootAsModel(content, 0)
buffers = {{}}
for number in range(model.MetadataLength()):
    entry = model.Metadata(number)
    buffers[entry.Name().decode()] = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
found["metadata"] = list(buffers["TFLITE_METADATA"])
interpreter = tf.lite.Interpreter("{file}")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
interpreter.invoke()
found["probabilities"] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist()
"""
    found = alone(folder, code)
    assert_same_probabilities(folder, found["probabilities"], difference)
    assert found["labels"].splitlines() == LABELS
    assert found["classes"] == list(CLASSES)
    metadata = bytes(found["metadata"])
    assert metadata[4:8] == b"M001"
    assert b"labels.txt\0" in metadata


def test_saved_model_has_labels_beside_the_graph(folder: Path) -> None:
    code = """
import tensorflow as tf
found = json.load(open("saved_model/assets.extra/plumbline.json"))
found["labels"] = open("saved_model/assets.extra/labels.txt", encoding="utf-8", newline="").read()
saved = tf.saved_model.load("saved_model")
found["probabilities"] = saved.serve(image).numpy().tolist()
"""
    found = alone(folder, code)
    assert_same_probabilities(folder, found["probabilities"])
    assert found["labels"].splitlines() == LABELS
    assert found["classes"] == list(CLASSES)
