"""Writing a model in other formats, and running what was written with each format's own runtime."""

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.config import ExportName
from tasks.core.data.loader import batches

Images = NDArray[np.uint8]
Forward = Callable[[Images], NDArray[np.float32]]
FILES = {
    ExportName.keras: "model.keras",
    ExportName.saved_model: "saved_model",
    ExportName.litert: "model.tflite",
    ExportName.litert_int8: "model_int8.tflite",
    ExportName.onnx: "model.onnx",
}
TIMED = 200  # single images whose time is taken
WARM_UP = 20  # single images before that


def write_export(source: Path, name: ExportName, directory: Path, examples: Images) -> Path:
    """Write a `model.keras` in another format.

    Args:
        examples: Images of the kind that the model will see, uint8 (N, H, W, C): int8 learns from them
            the range of every layer's values.

    Returns:
        The file's (or folder's) path in `directory`.
    """
    path = directory / FILES[name]
    if name is ExportName.keras:
        shutil.copyfile(source, path)
        return path
    model = keras.models.load_model(source)
    if name is ExportName.saved_model:
        model.export(path, format="tf_saved_model", verbose=False)
    elif name is ExportName.onnx:
        model(np.ascontiguousarray(examples[:1]))  # Keras converts only a model that was called once
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its converter asks for numpy.object, which numpy warns of
            model.export(path, format="onnx", verbose=False)
    else:
        path.write_bytes(_litert(model, examples if name is ExportName.litert_int8 else None))
    return path


def probabilities(path: Path, name: ExportName, images: Images) -> NDArray[np.float32]:
    """What a written file gives for the images, float32 (N, C)."""
    forward = load(path, name)
    return np.concatenate([forward(batch) for batch in batches.batches(images)])


def measure_latencies(path: Path, name: ExportName, images: Images) -> NDArray[np.float64]:
    """Seconds for each of some single images, one after the other, after a warm-up."""
    forward = load(path, name)
    seconds = []
    for number in range(WARM_UP + TIMED):
        image = np.ascontiguousarray(images[number % len(images)][None])
        began = time.perf_counter()
        forward(image)
        seconds.append(time.perf_counter() - began)
    return np.array(seconds[WARM_UP:])


def load(path: Path, name: ExportName) -> Forward:
    """A function from uint8 (N, H, W, C) to float32 (N, C) that runs the file."""
    if name is ExportName.keras:
        model = keras.models.load_model(path)
        return _forward(tf.function(lambda batch: model(batch, training=False), reduce_retracing=True))
    if name is ExportName.saved_model:
        saved = tf.saved_model.load(str(path))
        return _forward(lambda batch: saved.serve(batch))  # holds on to the variables, too
    if name is ExportName.onnx:
        return _onnx_runtime(path)
    return _interpreter(path)


def remove(path: Path) -> None:
    """Take a file (or folder) away again."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _litert(model: keras.Model, examples: Images | None) -> bytes:
    """The model as LiteRT (formerly TensorFlow Lite) flatbuffer; quantized if there are examples."""
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if examples is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: _singly(examples)
        return bytes(converter.convert())


def _singly(examples: Images) -> Iterator[list[Images]]:
    for number in range(len(examples)):
        yield [np.ascontiguousarray(examples[number : number + 1])]


def _forward(model: Callable[[Any], Any]) -> Forward:
    return lambda batch: np.asarray(model(tf.constant(batch)))


def _onnx_runtime(path: Path) -> Forward:
    import onnxruntime  # an optional extra

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {given: batch})[0])


def _interpreter(path: Path) -> Forward:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will move into a package of its own, in a later TensorFlow
        interpreter = tf.lite.Interpreter(str(path))
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    shape: list[tuple[int, ...]] = []

    def forward(batch: Images) -> NDArray[np.float32]:
        if shape != [batch.shape]:
            interpreter.resize_tensor_input(given, batch.shape)
            interpreter.allocate_tensors()
            shape[:] = [batch.shape]
        interpreter.set_tensor(given, batch)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(made))

    return forward
