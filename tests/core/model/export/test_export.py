"""Exports of a small trained-like model: each file run by its own runtime, without our code where noted."""

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
EVERY = tuple(ExportName)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Model, TensorCache]:
    """A convolutional model for 8x8 colour images of seven classes, with clear answers."""
    workspace = Workspace.open(tmp_path_factory.mktemp("exports"))
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="images")
    outputs = inputs
    for layer in (
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(padding="same"),
        keras.layers.Flatten(),
        keras.layers.Dense(7, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5)),
        keras.layers.Softmax(),
    ):
        outputs = layer(outputs)
    path = workspace.root / "model.keras"
    keras.Model(inputs, outputs).save(path)
    made_of = Ingredients("train", {}, {})
    directory = workspace.root / "training" / made_of.digest
    publish.publish(directory, made_of, lambda staging: path.rename(staging / "model.keras") and {})
    sha256 = hashing.sha256_file(directory / "model.keras")
    return (
        workspace,
        Model(workspace.relative(directory), made_of.digest, sha256),
        FakeOutputs(workspace).tensors(),
    )


@pytest.fixture
def exported(made) -> export.Exports:
    workspace, model, tensors = made
    Workspace.open(workspace.root)
    return export.export(model, tensors, EVERY, workspace)


def images(made) -> np.ndarray:
    return np.load(made[2].directory / "test.images.npy")


def expected(made) -> np.ndarray:
    model = keras.models.load_model(made[1].directory / "model.keras")
    return np.asarray(model(images(made)))


def lines(exported: export.Exports) -> dict[str, dict]:
    return {
        line["format"]: line for line in json.loads((exported.directory / "certificate.json").read_text())
    }


def test_every_format_is_certified(made, exported) -> None:
    assert {"keras", "saved-model", "litert", "onnx"} <= set(exported.passed)
    assert {*exported.passed, *exported.refused} == {str(name) for name in EVERY}
    for name, line in lines(exported).items():
        assert line["images"] == made[2].test
        assert line["passed"] == (name in exported.passed)
        assert 0 < line["p50_ms"] <= line["p95_ms"]
        if name != "litert-int8":
            assert line["agreement"] == 1
            assert line["largest_difference"] < 1e-5
            assert line["accuracy"] == line["expected_accuracy"]


def test_onnxruntime_alone_gives_the_probabilities(made, exported) -> None:
    session = onnxruntime.InferenceSession(exported.directory / "model.onnx")
    (given,) = session.get_inputs()
    assert given.type == "tensor(uint8)"
    np.testing.assert_allclose(session.run(None, {given.name: images(made)})[0], expected(made), atol=1e-5)


def test_the_litert_interpreter_alone_gives_the_probabilities(made, exported) -> None:
    interpreter = tf.lite.Interpreter(str(exported.directory / "model.tflite"))
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] is np.uint8
    interpreter.allocate_tensors()
    for image, row in zip(images(made)[:20], expected(made)[:20], strict=True):
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(answer["index"])[0], row, atol=1e-5)


def test_int8_is_smaller_and_its_line_says_what_it_loses(made, exported) -> None:
    known = lines(exported)
    line = known["litert-int8"]
    assert line["bytes"] < known["litert"]["bytes"]
    assert 0.8 < line["agreement"] <= 1
    assert 1e-5 < line["largest_difference"] < 0.5


def test_the_saved_model_loads_without_keras(made, exported) -> None:
    served = tf.saved_model.load(str(exported.directory / "saved_model"))
    np.testing.assert_allclose(served.serve(tf.constant(images(made))), expected(made), atol=1e-5)


def test_a_second_export_finds_the_first(made, exported) -> None:
    workspace, model, tensors = made
    before = (exported.directory / "certificate.json").stat().st_mtime_ns
    assert export.export(model, tensors, EVERY[::-1], workspace) == exported
    assert (exported.directory / "certificate.json").stat().st_mtime_ns == before


SEEN = {"agreement": 1.0, "largest_difference": 0.0, "accuracy": 0.8, "expected_accuracy": 0.8}


@pytest.mark.parametrize(
    ("seen", "allowed", "words"),
    [
        ({}, EXACT, None),
        ({"agreement": 0.998}, EXACT, "99.80% of the predicted classes"),
        ({"largest_difference": 0.01}, EXACT, "a probability differs by 0.01"),
        ({"accuracy": 0.75}, EXACT, "5.00 points of accuracy"),
        ({"largest_difference": float("nan")}, EXACT, "differs by nan"),
        ({"agreement": 0.98, "largest_difference": 0.3, "accuracy": 0.795}, QUANTIZED, None),
        ({"agreement": 0.9}, QUANTIZED, "90.00%"),
    ],
)
def test_tolerances(seen: dict, allowed, words: str | None) -> None:
    reasons = verification.problems(SEEN | seen, allowed)
    assert reasons == [] if words is None else words in "; ".join(reasons)


def test_a_file_outside_its_tolerance_does_not_go_out(made, tmp_path: Path) -> None:
    """The line of a file that answers at random: refused, and the reasons say by how much."""
    generator = np.random.default_rng(0)
    guesses = generator.dirichlet(np.ones(7), made[2].test).astype(np.float32)
    labels = np.load(made[2].directory / "test.labels.npy")
    (tmp_path / "model.onnx").write_bytes(b"12345")
    line = verification.verify(
        ExportName.onnx, tmp_path / "model.onnx", guesses, expected(made), labels, np.array([0.001, 0.003])
    )
    assert not line["passed"]
    assert line["bytes"] == 5
    assert line["p50_ms"] == pytest.approx(2.0)
    assert "NOT published" in verification.verification_text(line)
