"""Photos a second of the embed stage's backbone, against onnxruntime and against plain `model.predict`.

python benchmarks/embed_speed.py              # 256 random photos, three rounds, one view
python benchmarks/embed_speed.py --rounds 5

The same network and the same decoded photos in one process, in rounds: each way runs once in each round, so
that a noisy machine disturbs all of them. `embed` has batches of its own size. Printed are the medians,
a second of wall time and of CPU time, and the ratio to the better rival. onnxruntime uses as many threads as
the machine has cores.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tasks.core.config import Precision
from tasks.core.model.backbones import catalog, network
from tasks.core.model.features.extractor import Extractor
from tasks.core.model.features.kind import FeatureKind
from tasks.core.operations import environment

Way = Callable[[np.ndarray], object]
RIVALS = ("onnxruntime", "model.predict")


def ways(batch: int) -> dict[str, Way]:
    import onnxruntime

    backbone = catalog.find(catalog.DEFAULT)
    kind = FeatureKind(backbone.name, backbone.image_size, 1, Precision.float32, "crop")
    full = Extractor(kind)
    half = Extractor(replace(kind, precision=Precision.bfloat16))
    model = network.build(backbone, backbone.image_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model(np.zeros((1, *model.input_shape[1:]), np.uint8))
        model.export(path, format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def batched(forward: Way, size: int = batch) -> Way:
        return lambda images: [forward(images[first : first + size]) for first in range(0, len(images), size)]

    return {
        "embed, bfloat16": batched(half, half.batch),
        "embed, float32": batched(full, full.batch),
        "onnxruntime": batched(lambda images: session.run(None, {name: images})),
        "model.predict": lambda images: model.predict(images, batch_size=batch, verbose=0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    environment.prepare()
    images = np.random.default_rng(0).integers(0, 256, (arguments.photos, 224, 224, 3), np.uint8)
    measured: dict[str, list[tuple[float, float]]] = {}
    compared = ways(arguments.batch)
    for way in compared.values():
        way(images[: arguments.batch])  # compiles
    for _ in range(arguments.rounds):
        for name, way in compared.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way(images)
            rates = (len(images) / (time.perf_counter() - wall), len(images) / (time.process_time() - cpu))
            measured.setdefault(name, []).append(rates)
    walls = {name: median(wall for wall, _ in rates) for name, rates in measured.items()}
    cpus = {name: median(cpu for _, cpu in rates) for name, rates in measured.items()}
    best_wall, best_cpu = (max(rates[name] for name in RIVALS) for rates in (walls, cpus))
    print(f"{arguments.photos} photos of 224 pixels, batches of {arguments.batch}, {arguments.rounds} rounds")
    for name in compared:
        print(
            f"{name:<16} {walls[name]:6.0f} photos/s ({walls[name] / best_wall:.2f} of the better rival)  "
            f"{cpus[name]:6.0f} photos/CPU-s ({cpus[name] / best_cpu:.2f})"
        )


if __name__ == "__main__":
    main()
