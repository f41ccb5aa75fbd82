"""The quick form of the benchmarks, a topic a function; `python benchmarks/all.py` calls them.

Each topic takes the folder that it may write to and the number of rounds, and returns rows of
`pairs.comparison`. What imports TensorFlow runs in processes of its own:

    python benchmarks/quick.py predict FOLDER ROUNDS        # prints the rows as JSON
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import pairs
from benchmarks.pairs import ROOT

Rows = list[dict[str, Any]]
FLOW = "flows/train_flow.py"
TRAIN = ("--epochs", "2", "--workspace")
NOTHING = "a run in which nothing changed (digits)"
SMALL, PHOTOS, DISTINCT, PREDICTED = 5_000, 60, 20, 10_000  # images
DECODERS = ("compiled", "plumbline", "keras", "tf.data", "tf.data/8", "pillow", "bare")
SIZES = ((10, 1_000), (100, 10_000), (1_000, 10_000))  # classes, test images
RUNS = (10, 1_000, 10_000)
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def alone(scratch: Path) -> dict[str, str]:
    """An environment without a Prefect server: each run starts its own, or none."""
    return CLEAN | {
        "PREFECT_HOME": str(scratch / "home"),
        "PREFECT_SERVER_API_PORT": "1",  # a server that happens to run on this machine is not used
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT),
    }


def start(scratch: Path, rounds: int, data: Path) -> Rows:
    """What a user waits for: help, a list, a run without news, a first run."""
    from benchmarks.overhead import BARE, DIRECT

    environment, python = alone(scratch), sys.executable
    kept, fresh = scratch / "kept", scratch / "fresh"
    scripts = {"bare.py": BARE, "direct.py": DIRECT}
    for name, text in scripts.items():
        (scratch / name).write_text(text)
    train = [python, FLOW, *TRAIN]

    def first(*command: object, home: Path | None = None) -> Mapping[str, float]:
        """A run in a new workspace; with `home`, a folder that is removed first, also with a new database."""
        for folder in filter(None, (fresh, home)):
            shutil.rmtree(folder, ignore_errors=True)
        surroundings = environment | ({"PREFECT_HOME": str(home)} if home else {})
        return pairs.process([*command, fresh], surroundings)

    run = partial(pairs.process, environment=environment)
    run([python, scratch / "bare.py"])  # migrates the database
    run([*train, kept])
    no_news = {
        "plumbline": partial(run, [*train, kept]),
        "bare Prefect flow": partial(run, [python, scratch / "bare.py"]),
    }
    first_run = {
        "plumbline": partial(first, *train),
        "plumbline, new Prefect database": partial(first, *train, home=scratch / "new home"),
        "its functions, without Prefect": partial(first, python, scratch / "direct.py"),
    }
    short = {
        "plumbline train --help": partial(run, [python, FLOW, "--help"]),
        "plumbline models list": partial(run, [python, "-m", "flows", "models", "list", "--workspace", kept]),
    }
    return [
        pairs.comparison("Start", "commands that only look", pairs.in_turn(short, rounds)),
        pairs.comparison("Start", f"{NOTHING}, no server", pairs.in_turn(no_news, rounds), "plumbline"),
        pairs.comparison(
            "Start", "a first run (digits, 2 epochs)", pairs.in_turn(first_run, rounds), "plumbline"
        ),
    ]


def history(scratch: Path, rounds: int, data: Path) -> Rows:
    """A run without news, and the table of runs, after many runs."""
    from benchmarks import tables
    from benchmarks.prefect_service import Service

    environment = alone(scratch)
    pairs.process([sys.executable, FLOW, *TRAIN, scratch / "first"], environment)  # migrates the database
    with Service(scratch / "service") as service:
        no_news = {
            f"{count:,} runs, {place}": _no_news(scratch / f"{count} {place}", count, surroundings)
            for count in RUNS
            for place, surroundings in (("no server", environment), ("a server", service.environment))
        }
        nothing = pairs.comparison(
            "History", NOTHING, pairs.in_turn(no_news, rounds), f"{RUNS[0]:,} runs, no server"
        )
    ways: dict[str, pairs.Way] = {
        f"{count:,} runs": partial(_table, tables.measured, count, tables.filling.FULL_ROWS) for count in RUNS
    }
    table = pairs.comparison(
        "History", "the table of runs: one row read, one added", pairs.in_turn(ways, rounds)
    )
    return [nothing, table]


def _no_news(folder: Path, count: int, environment: Mapping[str, str]) -> pairs.Way:
    """A digits run in which nothing changed, in a workspace with the rows of `count` runs before it."""
    from benchmarks import tables

    tables.fill(folder / "metrics" / "runs", count, tables.filling.FULL_ROWS, "dataset=digits")
    command = [sys.executable, FLOW, *TRAIN, folder]
    pairs.process(command, environment)
    return partial(pairs.process, command, environment)


def _table(measure: Callable[[int, int], list[float]], count: int, rows_a_part: int) -> Mapping[str, float]:
    began = time.perf_counter()
    _, _, one, added = measure(count, rows_a_part)
    return {"cpu": (one + added) / 1000, "wall of filling and measuring": time.perf_counter() - began}


def evaluation(scratch: Path, rounds: int, data: Path) -> Rows:
    """Scores of probabilities that are there, by classes and images."""
    from benchmarks import evaluation_cost
    from tasks.core.workspace import Workspace

    workspace, ways = Workspace.open(scratch), {}
    for classes, images in SIZES:
        evaluation_cost.invent(workspace, classes, images, grouped=False)
        words = ["--workspace", str(scratch), "--classes", str(classes), "--images", str(images)]
        name = f"{classes:,} classes, {images:,} images"
        ways[name] = partial(evaluation_cost.run, ROOT, words)
    return [pairs.comparison("Evaluation", "metrics with their intervals", pairs.in_turn(ways, rounds))]


def folder_to_tensors(scratch: Path, rounds: int, data: Path) -> Rows:
    """Decoding small JPEGs and photos, against Keras, Pillow and a loop that only decodes."""
    from benchmarks import decoders
    from benchmarks import folder_to_tensors as race

    small, photos = scratch / "small", scratch / "photos"
    files = sorted(data.rglob("*.jpg"))
    for number in range(SMALL):
        source = files[number % len(files)]
        hard_link(source, small / source.parent.name / f"{number:05}.jpg")
    for number in range(DISTINCT):
        path = photos / "ab"[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        race.photo(number).save(path, quality=90, subsampling="4:2:0")
        for link in range(number + DISTINCT, PHOTOS, DISTINCT):
            hard_link(path, path.with_name(f"{link:05}.jpg"))
    names = list(DECODERS)
    try:
        decoders.start("compiled", small, 32)
    except SystemExit:  # no compiler was there when Plumbline was installed
        names.remove("compiled")
    rows = []
    for what, folder, size, left_out in (
        (f"{SMALL:,} JPEGs of 32x32", small, 32, "tf.data/8"),
        (f"{PHOTOS} photos of 12 megapixels to 224x224", photos, 224, ""),
    ):
        ways = {name: partial(decoders.start, name, folder, size) for name in names if name != left_out}
        rows.append(pairs.comparison("Folder to tensors", what, pairs.in_turn(ways, rounds), names[0]))
    return rows


def hard_link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def training(scratch: Path, rounds: int, data: Path) -> Rows:
    """From tensors to test predictions: `flash` and the textbook script."""
    from benchmarks import training as race
    from tasks.core.config import NormalizeSettings, Precision, SourceSettings
    from tasks.core.data.sources import acquire
    from tasks.core.data.tensors import normalize
    from tasks.core.workspace import Workspace

    workspace = Workspace.open(scratch)
    cache = normalize.normalize(
        acquire.acquire(SourceSettings(str(data)), workspace), NormalizeSettings(), workspace
    )
    seeds = {name: iter(range(rounds)) for name in ("flash", race.TEXTBOOK)}

    def one(name: str) -> Mapping[str, float]:
        return race.measured(str(cache.directory), name, next(seeds[name]), Precision.auto)

    measured = pairs.in_turn({name: partial(one, name) for name in seeds}, rounds)
    what = f"{cache.train:,} train images of 32x32, a seed a round"
    return [pairs.comparison("Training", what, measured, "flash")]


def predict(scratch: Path, rounds: int, data: Path) -> Rows:
    """Batch prediction by a trained model, decoded images and a folder, against Keras; imports TensorFlow."""
    from benchmarks import prediction
    from tasks.core.registry import last_published, registry
    from tasks.core.workspace import Workspace

    folder = scratch / "workspace"
    command = [sys.executable, FLOW, "--dataset", data, "--recipe", "flash", "--workspace", folder]
    pairs.process(command, alone(scratch))
    workspace = Workspace.open(folder)
    version = registry.resolve(last_published.choose(None, workspace), "champion", workspace)
    folder = prediction.linked(data, PREDICTED, scratch / "images")
    return prediction.measure(version, folder, scratch, rounds)


def features(scratch: Path, rounds: int, data: Path) -> Rows:
    """The backbone's features of photos, against onnxruntime and `model.predict`; imports TensorFlow."""
    import numpy as np

    from benchmarks import embed_speed

    images = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), np.uint8)
    work = embed_speed.ways(32)
    measured = pairs.in_turn({name: partial(_timed, way, images) for name, way in work.items()}, rounds + 1)
    warm = {name: found[1:] for name, found in measured.items()}
    return [pairs.comparison("Features", "64 decoded photos, one view", warm, "embed, bfloat16")]


def _timed(work: Callable[..., Any], *arguments: Any) -> Mapping[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work(*arguments)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


TOPICS: dict[str, Callable[[Path, int, Path], Rows]] = {
    "start": start,
    "history": history,
    "evaluation": evaluation,
    "folder_to_tensors": folder_to_tensors,
    "training": training,
    "predict": predict,
    "features": features,
}


def small_images(folder: Path) -> Path:
    """scikit-learn's 1,797 digits as JPEG files of 32x32 in colour, a folder a class."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(images.reshape(-1, 8, 8), labels, strict=True)):
        path = folder / str(label) / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray(np.uint8(image * 255 / 16)).resize((32, 32), Image.Resampling.BICUBIC)
        grey.convert("RGB").save(path, quality=90)
    return folder


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tasks.core.operations import environment

    environment.prepare()
    name, images, rounds = sys.argv[1], sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(TOPICS[name](Path(folder), int(rounds), Path(images))))
