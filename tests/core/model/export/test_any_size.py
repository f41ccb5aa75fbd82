"""Exports that take one image of any size; some tests run them alone, without our code."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tasks.core.config import ExportInput, ExportName, Fit, NormalizeSettings, SourceSettings
from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import DataError, UsageError
from tasks.core.model.export import any_size, export, keras_file, verification
from tasks.core.model.export.originals import originals
from tasks.core.stage import publish
from tasks.core.stage.handles import Model, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, noise, put, smooth

pytestmark = pytest.mark.slow
FORMATS = (ExportName.keras, ExportName.saved_model, ExportName.litert, ExportName.onnx)
SIZES = [(16, 24), (100, 37), (37, 100), (480, 640), (8, 300), (5, 5), (15, 23)]


def pixels_model(height: int, width: int, channels: int) -> keras.Model:
    """A model that returns its input's values."""
    inputs = keras.Input((height, width, channels), dtype="uint8")
    return keras.Model(inputs, keras.layers.Flatten()(keras.layers.Rescaling(1.0)(inputs)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", Fit)
def test_any_size_model_scales_as_the_decoder(fit: Fit, channels: int) -> None:
    model = any_size.any_size_model(pixels_model(16, 24, channels), fit)
    for number, (height, width) in enumerate(SIZES):
        image = noise(number, height, width, channels).reshape(height, width, channels)
        expected = decode.resize_and_convert(image, Target((16, 24), channels, fit)).ravel()
        difference = np.asarray(model(image[None]))[0] - expected
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 0.25


def test_any_size_model_pads_with_black() -> None:
    """A white 40 x 10 in 8 x 8 is 8 x 2: three black rows above it, and three below."""
    model = any_size.any_size_model(pixels_model(8, 8, 1), Fit.pad)
    values = np.asarray(model(np.full((1, 10, 40, 1), 255, np.uint8))).reshape(8, 8)
    assert np.array_equal(values[:, 0], [0, 0, 0, 255, 255, 0, 0, 0])


def test_any_size_model_twice_in_a_process_gives_the_same_bytes(tmp_path: Path) -> None:
    model = pixels_model(8, 8, 3)
    for name in ("one", "two"):
        keras_file.write_keras(any_size.any_size_model(model, Fit.crop), tmp_path / f"{name}.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, RawDataset, Model, TensorCache]:
    """A folder of photos of many sizes, its padded tensors, and a model for them."""
    folder = tmp_path_factory.mktemp("any-size")
    for number in range(120):
        height, width = 40 + 7 * (number % 11), 40 + 9 * (number % 13)
        image = noise(number, height, width) // 2 + smooth(height, width) // 2
        put(folder / "photos" / "ab"[number % 2] / f"{number:03d}.png", encoded(image))
    put(folder / "photos" / "a" / "copy.png", (folder / "photos" / "a" / "000.png").read_bytes())
    workspace = Workspace.open(folder / "workspace")
    raw = acquire.acquire(SourceSettings(str(folder / "photos")), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(image_size=16, fit=Fit.pad), workspace)
    return workspace, raw, model_handle(workspace), tensors


def model_handle(workspace: Workspace) -> Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3), dtype="uint8", name="images")
    values = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Softmax()(keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(values)))
    ingredients = Ingredients("train", {}, {})
    directory = workspace.root / "training" / ingredients.digest

    def build(staging: Path) -> dict[str, object]:
        keras.Model(inputs, outputs).save(staging / "model.keras")
        return {"shape": [16, 16, 3], "fit": "pad"}

    publish.publish(directory, ingredients, build)
    sha256 = hashing.sha256_file(directory / "model.keras")
    return Model(workspace.relative(directory), ingredients.digest, sha256)


@pytest.fixture(scope="module")
def exported(source) -> export.Exports:
    """The model in all formats that can take images of any size."""
    workspace, raw, model, tensors = source
    Workspace.open(workspace.root)
    return export.export(model, tensors, FORMATS, workspace, raw, any_size=True)


def test_originals_scaled_are_the_test_images_of_the_tensors(source) -> None:
    _, raw, _, tensors = source
    images = open_split(tensors, "test").images
    rows = []
    for row, image in originals(raw, tensors, 3):
        scaled = decode.resize_and_convert(image, Target((16, 16), 3, Fit.pad))
        np.testing.assert_array_equal(scaled, images[row])
        rows.append(row)
    assert sorted(rows) == list(range(tensors.test))
    assert sorted(row for row, _ in originals(raw, tensors, 3, 5)) == [0, 1, 2, 3, 4]


def test_originals_that_have_changed_are_refused(tmp_path: Path, workspace: Workspace) -> None:
    for number in range(60):
        put(tmp_path / "p" / "ab"[number % 2] / f"{number}.png", encoded(noise(number)))
    raw = acquire.acquire(SourceSettings(str(tmp_path / "p")), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(), workspace)
    for path in (tmp_path / "p").rglob("*.png"):
        path.write_bytes(b"changed")
    with pytest.raises(DataError, match="changed during the run"):
        list(originals(raw, tensors, 3))


def test_export_any_size_is_certified_on_originals(source, exported) -> None:
    assert set(exported.passed) == set(map(str, FORMATS))
    for entry in json.loads((exported.directory / "certificate.json").read_text()):
        assert entry["input"] == "any-size"
        assert entry["images"] == source[3].test
        assert entry["agreement"] >= 0.95
        assert entry["scaling"]["largest_difference"] < 0.01
        assert 0 < entry["p50_ms"] <= entry["p95_ms"]


def test_export_any_size_is_another_output_than_that_of_fixed_size(source) -> None:
    _, raw, model, tensors = source
    fixed = export.ingredients(model, tensors, FORMATS)
    assert export.ingredients(model, tensors, FORMATS, raw, any_size=True).digest != fixed.digest
    assert "input" not in fixed.parameters


RUN = {
    "model.keras": "import keras; model = keras.models.load_model('model.keras'); run = model",
    "saved_model": "import tensorflow as tf; saved = tf.saved_model.load('saved_model'); run = saved.serve",
    "model.onnx": """
import onnxruntime
session = onnxruntime.InferenceSession('model.onnx')
run = lambda image: session.run(None, {session.get_inputs()[0].name: image})[0]
""",
    "model.tflite": """
import tensorflow as tf
interpreter = tf.lite.Interpreter('model.tflite')
def run(image):
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]['index'], image.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]['index'], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]['index'])
""",
}


ALONE = """
import json, sys
import numpy as np
from PIL import Image
images = [np.asarray(Image.open(f"{sys.argv[1]}/{number}.png"))[None] for number in range(3)]
found = {}
for file, code in json.loads(sys.argv[2]).items():
    exec(code, names := {"np": np})
    found[file] = [np.asarray(names["run"](image))[0].tolist() for image in images]
assert "tasks" not in sys.modules
print(json.dumps(found))
"""


def test_exported_files_alone_take_images_of_any_size(source, exported, tmp_path: Path) -> None:
    """The reference: Pillow scales the whole image in and puts it on black; then the published model."""
    model = keras.models.load_model(source[2].directory / "model.keras")
    expected = []
    for number, (size, inner) in enumerate(
        [((90, 60), (16, 11)), ((50, 200), (4, 16)), ((16, 16), (16, 16))]
    ):
        image = Image.fromarray(noise(number, *size))
        image.save(tmp_path / f"{number}.png")
        scaled = np.asarray(image.resize(inner[::-1], Image.Resampling.BILINEAR))
        padded = np.zeros((16, 16, 3), np.uint8)
        top, left = (16 - inner[0]) // 2, (16 - inner[1]) // 2
        padded[top : top + inner[0], left : left + inner[1]] = scaled
        expected.append(np.asarray(model(padded[None]))[0])
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE, str(tmp_path), json.dumps(RUN)]
    result = subprocess.run(command, cwd=exported.directory, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert set(found) == set(RUN)
    for file, probabilities in found.items():
        np.testing.assert_allclose(probabilities, expected, atol=0.01, err_msg=file)


def test_check_formats_int8_of_any_size_is_refused() -> None:
    with pytest.raises(UsageError, match="litert-int8 cannot scale") as refused:
        export.check_formats((ExportName.onnx, ExportName.litert_int8), ExportInput.any_size)
    assert "keras, saved-model, litert, onnx" in str(refused.value)
    export.check_formats(FORMATS, ExportInput.any_size)


def test_check_formats_any_size_without_an_export_is_refused() -> None:
    with pytest.raises(UsageError, match="--exports"):
        export.check_formats((), ExportInput.any_size)


def test_verify_scaling_another_fit_does_not_pass() -> None:
    entry = {"passed": True, "reasons": []}
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    assert verification.verify_scaling(entry, probabilities, probabilities + 0.01)["passed"]
    refused = verification.verify_scaling(
        entry, probabilities, np.array([[0.8, 0.2], [0.2, 0.8]], np.float32)
    )
    assert not refused["passed"]
    assert refused["reasons"] == ["scaling in the file: a probability differs by 0.1"]
