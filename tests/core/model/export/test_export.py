"""Exports of a small model; some tests run the files by their own runtimes, without our code."""

import json
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from tasks.core.config import ExportName
from tasks.core.model.export import export, verification
from tasks.core.model.export.verification import EXACT, QUANTIZED
from tasks.core.stage import publish
from tasks.core.stage.handles import Model, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs

pytestmark = pytest.mark.slow
ALL_FORMATS = tuple(ExportName)


@pytest.fixture(scope="module")
def model_and_tensors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Model, TensorCache]:
    """A workspace, a convolutional model for 8x8 colour images of seven classes, and a tensor cache."""
    workspace = Workspace.open(tmp_path_factory.mktemp("exports"))
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="images")
    outputs = inputs
    for layer in (
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(padding="same"),
        keras.layers.Flatten(),
        keras.layers.Dense(7, name="logits", kernel_initializer=keras.initializers.RandomNormal(stddev=0.5)),
        keras.layers.Softmax(),
    ):
        outputs = layer(outputs)
    path = workspace.root / "model.keras"
    keras.Model(inputs, outputs).save(path)
    ingredients = Ingredients("train", {}, {})
    directory = workspace.root / "training" / ingredients.digest
    publish.publish(
        directory, ingredients, lambda staging: path.rename(staging / "model.keras") and {"shape": [8, 8, 3]}
    )
    sha256 = hashing.sha256_file(directory / "model.keras")
    return (
        workspace,
        Model(workspace.relative(directory), ingredients.digest, sha256),
        FakeOutputs(workspace).tensors(),
    )


@pytest.fixture
def exported(model_and_tensors) -> export.Exports:
    """The model in all formats."""
    workspace, model, tensors = model_and_tensors
    Workspace.open(workspace.root)
    return export.export(model, tensors, ALL_FORMATS, workspace)


def images(model_and_tensors) -> np.ndarray:
    """The test images."""
    return np.load(model_and_tensors[2].directory / "test.images.npy")


def expected(model_and_tensors) -> np.ndarray:
    """Keras' probabilities of the test images."""
    model = keras.models.load_model(model_and_tensors[1].directory / "model.keras")
    return np.asarray(model(images(model_and_tensors)))


def certificate(exported: export.Exports) -> dict[str, dict]:
    """The entries of the certificate, by format."""
    entries = json.loads((exported.directory / "certificate.json").read_text())
    return {entry["format"]: entry for entry in entries}


def test_export_with_all_formats_certifies_them(model_and_tensors, exported) -> None:
    assert {"keras", "saved-model", "litert", "onnx"} <= set(exported.passed)
    assert {*exported.passed, *exported.refused} == {str(name) for name in ALL_FORMATS}
    for name, entry in certificate(exported).items():
        assert entry["images"] == model_and_tensors[2].test
        assert entry["passed"] == (name in exported.passed)
        assert 0 < entry["p50_ms"] <= entry["p95_ms"]
        if name != "litert-int8":
            assert entry["agreement"] == 1
            assert entry["largest_difference"] < 1e-5
            assert entry["accuracy"] == entry["expected_accuracy"]


def test_export_saved_model_has_the_signature_that_tensorflow_serving_calls(
    model_and_tensors, exported
) -> None:
    """docs/serve.md names the signature, its input and its output."""
    saved = tf.saved_model.load(str(exported.directory / "saved_model"))
    signature = saved.signatures["serving_default"]
    _, named = signature.structured_input_signature
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in named.items()} == {
        "images": (tf.uint8, [None, 8, 8, 3])
    }
    outputs = signature(images=tf.constant(images(model_and_tensors)))
    np.testing.assert_allclose(outputs["output_0"].numpy(), expected(model_and_tensors), atol=1e-5)


def test_export_onnx_in_onnxruntime_gives_same_probabilities(model_and_tensors, exported) -> None:
    session = onnxruntime.InferenceSession(exported.directory / "model.onnx")
    (session_input,) = session.get_inputs()
    assert session_input.type == "tensor(uint8)"
    (probabilities,) = session.run(None, {session_input.name: images(model_and_tensors)})
    np.testing.assert_allclose(probabilities, expected(model_and_tensors), atol=1e-5)


def test_export_litert_in_interpreter_gives_same_probabilities(model_and_tensors, exported) -> None:
    interpreter = tf.lite.Interpreter(str(exported.directory / "model.tflite"))
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert input_details["dtype"] is np.uint8
    interpreter.allocate_tensors()
    for image, row in zip(images(model_and_tensors)[:20], expected(model_and_tensors)[:20], strict=True):
        interpreter.set_tensor(input_details["index"], image[None])
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(output_details["index"])[0], row, atol=1e-5)


def test_export_int8_is_smaller_and_certificate_has_its_losses(model_and_tensors, exported) -> None:
    entries = certificate(exported)
    int8 = entries["litert-int8"]
    assert int8["bytes"] < entries["litert"]["bytes"]
    assert 0.8 < int8["agreement"] <= 1
    assert 1e-5 < int8["largest_difference"] < 0.5


def test_export_saved_model_loads_without_keras(model_and_tensors, exported) -> None:
    served = tf.saved_model.load(str(exported.directory / "saved_model"))
    np.testing.assert_allclose(
        served.serve(tf.constant(images(model_and_tensors))), expected(model_and_tensors), atol=1e-5
    )


def test_export_again_reuses_the_output(model_and_tensors, exported) -> None:
    workspace, model, tensors = model_and_tensors
    before = (exported.directory / "certificate.json").stat().st_mtime_ns
    assert export.export(model, tensors, ALL_FORMATS[::-1], workspace) == exported
    assert (exported.directory / "certificate.json").stat().st_mtime_ns == before


PERFECT = {"agreement": 1.0, "largest_difference": 0.0, "accuracy": 0.8, "expected_accuracy": 0.8}


@pytest.mark.parametrize(
    ("measured", "tolerance", "reason"),
    [
        ({}, EXACT, None),
        ({"agreement": 0.998}, EXACT, "99.80 % of the predicted classes"),
        ({"largest_difference": 0.01}, EXACT, "a probability differs by 0.01"),
        ({"accuracy": 0.75}, EXACT, "5.00 points of accuracy"),
        ({"largest_difference": float("nan")}, EXACT, "differs by nan"),
        ({"agreement": 0.98, "largest_difference": 0.3, "accuracy": 0.795}, QUANTIZED, None),
        ({"agreement": 0.9}, QUANTIZED, "90.00 %"),
    ],
)
def test_problems_outside_tolerance_are_listed(measured: dict, tolerance, reason: str | None) -> None:
    reasons = verification.problems(PERFECT | measured, tolerance)
    assert reasons == [] if reason is None else reason in "; ".join(reasons)


def test_verify_outside_tolerance_does_not_pass(model_and_tensors, tmp_path: Path) -> None:
    """A file with random predictions is refused."""
    generator = np.random.default_rng(0)
    guesses = generator.dirichlet(np.ones(7), model_and_tensors[2].test).astype(np.float32)
    labels = np.load(model_and_tensors[2].directory / "test.labels.npy")
    (tmp_path / "model.onnx").write_bytes(b"12345")
    latencies = np.array([0.001, 0.003])
    entry = verification.verify(
        ExportName.onnx,
        tmp_path / "model.onnx",
        guesses,
        expected(model_and_tensors),
        labels,
        latencies,
    )
    assert not entry["passed"]
    assert entry["bytes"] == 5
    assert entry["p50_ms"] == pytest.approx(2.0)
    assert "NOT published" in verification.verification_text(entry)
