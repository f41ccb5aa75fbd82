"""Writes a model in other formats, and runs the files with each format's own runtime."""

import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.config import ExportName
from tasks.core.data.loader import batches
from tasks.core.model.export import litert_metadata
from tasks.core.model.export.description import FILE, LABELS, Description, labels_text

Images = NDArray[np.uint8]
Forward = Callable[[Images], NDArray[np.float32]]
FILES = {
    ExportName.keras: "model.keras",
    ExportName.saved_model: "saved_model",
    ExportName.litert: "model.tflite",
    ExportName.litert_int8: "model_int8.tflite",
    ExportName.onnx: "model.onnx",
}
TIMED = 200  # number of single images whose latency is measured
WARM_UP = 20  # number of single images before the measurement


def write_export(
    source: Path, name: ExportName, directory: Path, examples: Images, description: Description
) -> Path:
    """Write a `model.keras` in another format.

    Args:
        source: Path of `model.keras`.
        name: The format.
        directory: Where the file is written.
        examples: Training images, uint8 (N, H, W, C), from which int8 quantization learns the range of every
            layer's values.
        description: Class names and input, put into the file in the format's own way.

    Returns:
        Path of the file (or folder) in `directory`.
    """
    path = directory / FILES[name]
    if name is ExportName.keras:
        shutil.copyfile(source, path)
        return path
    model = keras.models.load_model(source)
    if name is ExportName.saved_model:
        model.export(path, format="tf_saved_model", verbose=False)
        _describe_saved_model(path, description)
    elif name is ExportName.onnx:
        model(np.ascontiguousarray(examples[:1]))  # Keras converts only a model that was called before
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converter reads numpy.object, which raises a warning
            model.export(path, format="onnx", verbose=False)
        _describe_onnx(path, description)
    else:
        content = _litert(model, examples if name is ExportName.litert_int8 else None)
        path.write_bytes(litert_metadata.add_metadata(content, description))
    return path


def probabilities(path: Path, name: ExportName, images: Images) -> NDArray[np.float32]:
    """Run a written file on images.

    Args:
        path: The file (or folder).
        name: Its format.
        images: uint8 (N, H, W, C).

    Returns:
        Probabilities, float32 (N, classes).
    """
    forward = load(path, name)
    return np.concatenate([forward(batch) for batch in batches.batches(images)])


def measure_latencies(path: Path, name: ExportName, images: Images | Sequence[Images]) -> NDArray[np.float64]:
    """Measure the latency of predicting single images, one after the other, after a warm-up.

    Args:
        path: The file (or folder).
        name: Its format.
        images: uint8 (H, W, C) each; repeated if there are fewer than needed.

    Returns:
        Seconds for each image, float64 (200,).
    """
    forward = load(path, name)
    seconds = []
    for number in range(WARM_UP + TIMED):
        image = np.ascontiguousarray(images[number % len(images)][None])
        started = time.perf_counter()
        forward(image)
        seconds.append(time.perf_counter() - started)
    return np.array(seconds[WARM_UP:])


def load(path: Path, name: ExportName) -> Forward:
    """Load a file as a function from uint8 (N, H, W, C) to probabilities, float32 (N, classes)."""
    if name is ExportName.keras:
        model = keras.models.load_model(path)
        return _forward(tf.function(lambda batch: model(batch, training=False), reduce_retracing=True))
    if name is ExportName.saved_model:
        saved = tf.saved_model.load(str(path))
        return _forward(lambda batch: saved.serve(batch))  # the lambda keeps the variables alive
    if name is ExportName.onnx:
        return _onnx_runtime(path)
    return _interpreter(path)


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _describe_saved_model(path: Path, description: Description) -> None:
    """Write files beside the graph, in the folder that the format has for them."""
    folder = path / "assets.extra"
    folder.mkdir()
    (folder / LABELS).write_text(labels_text(description.classes), encoding="utf-8", newline="")
    (folder / FILE).write_text(json.dumps(description.facts()))


def _describe_onnx(path: Path, description: Description) -> None:
    """Add the description to the model's metadata, each fact as JSON."""
    import onnx  # an optional extra

    model = onnx.load(path)
    onnx.helper.set_model_props(
        model, {name: json.dumps(value) for name, value in description.facts().items()}
    )
    onnx.save(model, path)


def _litert(model: keras.Model, examples: Images | None) -> bytes:
    """The model as a LiteRT (formerly TensorFlow Lite) flatbuffer; with examples, quantized to int8."""
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if examples is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: _one_by_one(examples)
        return bytes(converter.convert())


def _one_by_one(examples: Images) -> Iterator[list[Images]]:
    for number in range(len(examples)):
        yield [np.ascontiguousarray(examples[number : number + 1])]


def _forward(model: Callable[[Any], Any]) -> Forward:
    return lambda batch: np.asarray(model(tf.constant(batch)))


def _onnx_runtime(path: Path) -> Forward:
    import onnxruntime  # an optional extra

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {input_name: batch})[0])


def _interpreter(path: Path) -> Forward:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a later TensorFlow moves the interpreter to another package
        interpreter = tf.lite.Interpreter(str(path))
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    allocated: list[tuple[int, ...]] = []  # the shape that memory is allocated for

    def forward(batch: Images) -> NDArray[np.float32]:
        if allocated != [batch.shape]:
            interpreter.resize_tensor_input(input_index, batch.shape)
            interpreter.allocate_tensors()
            allocated[:] = [batch.shape]
        interpreter.set_tensor(input_index, batch)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(output_index))

    return forward
