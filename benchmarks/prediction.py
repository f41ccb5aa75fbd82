"""Batch prediction against Keras in equal batches, decoded images and a folder: CPU-seconds and wall.

python benchmarks/prediction.py --workspace workspace --dataset cifar10 --folder cifar10/test
    [--model champion] [--rounds 5] [--images 10000] [--result prediction.json]

All ways run in one process, in turn (A B A B), after a round that compiles. What they do:

    decoded     the images lie in memory as an array: `keras.Model.predict`, and ours
    folder      Keras: loading the model, `keras.utils.image_dataset_from_directory`, and
                `keras.Model.predict` on it
                ours: loading the model, listing, reading, decoding, predicting, the table on disk with the
                class names, and the comparison with the model's profile (figures, page, plot)

Each image of --folder is linked --images / its files times. bfloat16 is measured whether or not the model's
certificate allows it; the certificate is printed, and so is how the answers of both differ here.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from benchmarks import pairs
from tasks.core.config import Fit, Precision
from tasks.core.data import file_types
from tasks.core.data.inference import inputs, prediction_table
from tasks.core.data.inference.images import image_batches
from tasks.core.data.inference.prediction_table import PredictionRequest
from tasks.core.model.devices import bfloat16_certificate
from tasks.core.model.inference import profile
from tasks.core.registry import registry
from tasks.core.reports import drift_report
from tasks.core.stage.handles import ModelVersion
from tasks.core.workspace import Workspace

PRECISIONS = (Precision.float32, Precision.bfloat16)
KERAS = "keras predict, our batches"
COLUMNS = ["images from", "way", "images/CPU-s", "of Keras", "least to largest", "images/s"]
Probabilities = NDArray[np.float32]


def ours(precision: Precision) -> str:
    return f"plumbline, {precision}"


def table(version: ModelVersion, folder: Path, out: Path, precision: Precision) -> int:
    """What the flow does, without Prefect; the number of images."""
    from tasks.core.model.inference import predict_batch

    model = (version.dataset, version.version, version.model_sha256)
    asking = PredictionRequest(*model, (str(folder),), precision=str(precision))
    shutil.rmtree(out, ignore_errors=True)
    with prediction_table.locked_folder(out):
        (batch,) = prediction_table.pending_batches(out, asking, inputs.list_inputs(asking.inputs))
        predict_batch.predict(batch, version)
        found = drift_report.write_drift_report(batch, version)
        batch.finish(batch.counts() | {"drift": found.record()})
    return batch.images


def by_keras(path: Path, folder: Path, shape: tuple[int, int, int], size: int) -> None:
    """Probabilities of a folder's images; Keras and Plumbline decode the same files."""
    import keras

    model = keras.models.load_model(path)
    images = keras.utils.image_dataset_from_directory(
        folder,
        labels=None,
        color_mode="rgb" if shape[2] == 3 else "grayscale",
        batch_size=size,
        image_size=shape[:2],
        shuffle=False,
        verbose=False,
    )
    model.predict(images, verbose=0)


def decoded(version: ModelVersion, folder: Path, size: int) -> NDArray[np.uint8]:
    facts = version.manifest["facts"]
    lines = list(inputs.list_inputs([str(folder)]))
    blocks = image_batches(lines, size, version.shape, Fit.of(facts), version.grey_bits)
    return np.concatenate([block.images[: len(block)] for block in blocks])


def measure(version: ModelVersion, folder: Path, scratch: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each kind of source, see `pairs.comparison`; how the precisions differ is in the first."""
    import keras

    from tasks.core.model.inference import predictor

    path = version.directory / "model.keras"
    theirs = keras.models.load_model(path)
    loaded = {precision: predictor.load(path, precision) for precision in PRECISIONS}
    size = loaded[Precision.float32].size
    images = decoded(version, folder, size)

    def score(precision: Precision) -> Probabilities:
        own = loaded[precision]
        return np.concatenate([own.probabilities(part) for part in own.batches(images)])

    def fill(precision: Precision) -> None:
        table(version, folder, scratch / f"out-{precision}", precision)

    from_memory: dict[str, Callable[[], Any]] = {
        **{ours(precision): partial(score, precision) for precision in PRECISIONS},
        KERAS: partial(theirs.predict, images, batch_size=size, verbose=0),
    }
    from_folder: dict[str, Callable[[], Any]] = {
        **{ours(precision): partial(fill, precision) for precision in PRECISIONS},
        KERAS: partial(by_keras, path, folder, version.shape, size),
    }
    what = f"{len(images):,} images of {'x'.join(map(str, version.shape[:2]))}, batches of {size}"
    rows = [
        compared(f"{what}, {source}", in_turn(ways, rounds))
        for source, ways in (("decoded", from_memory), ("from a folder", from_folder))
    ]
    rows[0]["difference"] = difference(*(score(precision) for precision in PRECISIONS))
    return rows


def compared(what: str, measured: dict[str, list[Any]]) -> dict[str, Any]:
    """A row of `pairs.comparison`, and how many images each way takes in the CPU time of one of Keras."""
    row = pairs.comparison("Prediction", what, measured, ours(Precision.float32))
    costs = {name: [one["cpu"] for one in rounds] for name, rounds in measured.items()}
    rates = {name: pairs.ratios(costs[KERAS], cost) for name, cost in costs.items() if name != KERAS}
    return row | {"of Keras": rates}


def in_turn(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    measured = pairs.in_turn({name: partial(timed, way) for name, way in ways.items()}, rounds + 1)
    return {name: found[1:] for name, found in measured.items()}  # the first round compiles


def timed(work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def difference(expected: Probabilities, other: Probabilities) -> str:
    apart = np.abs(expected - other)
    same = np.mean(expected.argmax(1) == other.argmax(1))
    return f"the same class in {same:.2%}, probabilities {apart.mean():.4f} apart, {apart.max():.3f} at most"


def linked(folder: Path, count: int, target: Path) -> Path:
    """A folder of `count` links to the images of `folder`."""
    files = sorted(path for path in folder.rglob("*") if file_types.claims_to_be_image(path.name))
    for number in range(count):
        file = files[number % len(files)]
        place = target / f"{number // 1000:04}" / f"{number:07}{file.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:  # another file system
            shutil.copyfile(file, place)
    return target


def cells(row: dict[str, Any], images: int) -> Iterator[list[str]]:
    """The printed rows of a comparison: rates, and the ratio to Keras within each round."""
    source = row["what"].rpartition(", ")[2]
    for name, measures in row["ways"].items():
        cpu, wall = measures["cpu"]["median"], measures["wall"]["median"]
        ratio = row["of Keras"].get(name)
        texts = [f"{ratio['median']:.2f}", f"{ratio['least']:.2f} to {ratio['largest']:.2f}"] if ratio else []
        yield [source, name, f"{images / cpu:,.0f}", *(texts or ["1", ""]), f"{images / wall:,.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", default="champion")
    parser.add_argument("--folder", type=Path, required=True, help="images, linked as often as needed")
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--result", type=Path, help="where the table is written, as in benchmarks/results")
    given = parser.parse_args()
    version = registry.resolve(given.dataset, given.model, Workspace.open(given.workspace))
    with tempfile.TemporaryDirectory() as name:
        folder = linked(given.folder, given.images, Path(name) / "images")
        rows = measure(version, folder, Path(name), given.rounds)
    show(rows, version, given)


def show(rows: list[dict[str, Any]], version: ModelVersion, given: argparse.Namespace) -> None:
    certificate = bfloat16_certificate.read(version.directory / profile.FOLDER)
    reasons = "; ".join(certificate["reasons"]) or "bfloat16 is allowed" if certificate else ""
    said = f"{bfloat16_certificate.sentence(certificate)}: {reasons}" if certificate else "no certificate"
    figures = {"bfloat16 against float32": rows[0]["difference"], "certificate": said}
    printed = [line for row in rows for line in cells(row, given.images)]
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    print("\n".join(f"| {' | '.join(line)} |" for line in printed))
    print("\n".join(f"{name}: {text}" for name, text in figures.items()))
    if given.result:
        command = (
            f"python benchmarks/prediction.py --workspace workspace --dataset {given.dataset} --folder FOLDER"
        )
        result = {"section": "Batch prediction", "command": command, "device": pairs.device()}
        result |= {"n": given.rounds, "columns": COLUMNS, "rows": printed, "figures": figures}
        result |= {"pages": {"docs/benchmarks.md": COLUMNS}}
        given.result.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
