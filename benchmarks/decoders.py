"""The contenders of `folder_to_tensors.py`: each turns a folder of class folders into arrays.

python benchmarks/decoders.py CONTENDER FOLDER SIZE        # prints a line of JSON
"""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def start(contender: str, folder: Path, size: int) -> dict[str, Any]:
    """Run a contender in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment["PYTHONPATH"] = str(ROOT)
    if contender == "plumbline":
        environment["PLUMBLINE_DECODER"] = "off"
    command = [sys.executable, __file__, contender, str(folder), str(size)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(work: Callable[[], int]) -> dict[str, Any]:
    wall, cpu = time.monotonic(), cpu_seconds()
    images = work()
    wall, cpu = time.monotonic() - wall, cpu_seconds() - cpu
    return {"images": images, "wall": wall, "cpu": cpu, "memory": peak_memory()}


def peak_memory() -> float:
    """Megabytes. (`ru_maxrss` of a child is at least its parent's size when it was started.)"""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def plumbline(folder: Path, size: int) -> dict[str, Any]:
    run = prepared(folder, size)
    result = measured(run)
    written = sorted(folder.parent.glob("*/tensors/*/*.npy"))
    contents = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in written)
    for workspace in {path.parents[2] for path in written}:
        shutil.rmtree(workspace)
    return {**result, "digest": hashlib.sha256(contents).hexdigest()[:16]}


def compiled(folder: Path, size: int) -> dict[str, Any]:
    from tasks.core.data.block_decoder import library

    if library.load() is None:
        sys.exit("there is no compiled decoder: install with a C compiler and libjpeg-turbo's headers")
    return plumbline(folder, size)


def grown(folder: Path, size: int) -> dict[str, Any]:
    """A run from scratch, then an image added, then the run that is measured."""
    run = prepared(folder, size)
    run()
    first = min(path for path in folder.rglob("*.*") if path.is_file())
    added = first.with_name("added.png")
    Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(added)
    try:
        return measured(run)
    finally:
        added.unlink()


def prepared(folder: Path, size: int) -> Callable[[], int]:
    import pandas  # noqa: F401 - pyarrow imports it at its first array

    from tasks.core.config import NormalizeSettings, SourceSettings
    from tasks.core.data.sources import acquire
    from tasks.core.data.tensors import normalize
    from tasks.core.workspace import Workspace

    workspace = Workspace.open(tempfile.mkdtemp(dir=folder.parent))
    settings = NormalizeSettings(image_size=size, val_fraction=0.3)

    def run() -> int:
        handle = acquire.acquire(SourceSettings(str(folder)), workspace)
        cache = normalize.normalize(handle, settings, workspace)
        return cache.train + cache.val + cache.test

    return run


def keras(folder: Path, size: int) -> dict[str, Any]:
    import keras

    def run() -> int:
        dataset = keras.utils.image_dataset_from_directory(
            folder,
            image_size=(size, size),
            batch_size=256 if size <= 64 else 32,
            shuffle=False,
            verbose=False,
        )
        return sum(len(labels) for _, labels in dataset)

    return measured(run)


def tf_data(ratio: int) -> Callable[[Path, int], dict[str, Any]]:
    """Hand-written tf.data; `ratio` is that of decode_jpeg."""

    def contender(folder: Path, size: int) -> dict[str, Any]:
        import tensorflow as tf

        def load(path: Any) -> Any:
            image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, ratio=ratio)
            return tf.cast(tf.image.resize(image, (size, size)), tf.uint8)

        def run() -> int:
            paths = sorted(entry.path for entry in files_below(folder))
            dataset = tf.data.Dataset.from_tensor_slices(paths).map(load, tf.data.AUTOTUNE)
            return sum(len(images) for images in dataset.batch(256 if size <= 64 else 32).prefetch(2))

        return measured(run)

    return contender


def pillow(folder: Path, size: int) -> dict[str, Any]:
    def run() -> int:
        paths = sorted(path for path in folder.rglob("*.*") if path.is_file())
        images = np.empty((len(paths), size, size, 3), np.uint8)
        for number, path in enumerate(paths):
            with Image.open(path) as image:
                images[number] = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        return len(images)

    return measured(run)


def bare(folder: Path, size: int) -> dict[str, Any]:
    import simplejpeg

    from tasks.core.data.decode import OVERSAMPLE, REDUCTION
    from tasks.core.data.files.file_hashes import read_file

    least = int(size * OVERSAMPLE)

    def run() -> int:
        images = 0
        for entry in files_below(folder):
            content = read_file(entry.path, entry.stat().st_size)
            simplejpeg.decode_jpeg(content, "RGB", False, False, least, least, REDUCTION)
            images += 1
        return images

    return measured(run)


def files_below(folder: Path | str) -> Iterator["os.DirEntry[str]"]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from files_below(entry.path)
        else:
            yield entry


RUNS = {
    **{"plumbline": plumbline, "compiled": compiled, "grown": grown, "keras": keras, "pillow": pillow},
    **{"tf.data": tf_data(1), "tf.data/8": tf_data(8), "bare": bare},
}

if __name__ == "__main__":
    print(json.dumps(RUNS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
