"""Trainings on a GPU: the images on the device against the host's, resuming, accuracy and time.

python benchmarks/gpu.py --tensors workspace/tensors/DIGEST [--recipes fast good] [--batch-sizes 128 1024]

1. Images of two epochs' first steps, gathered on the device and on the host: the same bytes.
2. `--steps` steps with both, and once more from a checkpoint half-way: the same bytes of all variables.
3. Each recipe, batch size and seed: seconds of training without and with building, validations and
   checkpoints; images per second of training; val accuracy; the images on the device. The first seed also
   with the images on the host.

It stops after `--minutes`, with the rows that it has. Without a GPU it refuses, unless `--on-cpu` is given,
which is for trying the script itself.
"""

import argparse
import json
import sys
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.operations import environment

environment.prepare()

import tensorflow as tf  # noqa: E402 - after its settings

from benchmarks.training import linked  # noqa: E402
from tasks.core import recipes  # noqa: E402
from tasks.core.config import RecipeName, TrainSettings  # noqa: E402
from tasks.core.data.tensors.cache import open_split  # noqa: E402
from tasks.core.model.devices import device  # noqa: E402
from tasks.core.model.training import checkpoint, loop  # noqa: E402
from tasks.core.model.training.steps import StepPlan  # noqa: E402
from tasks.core.model.training.trainer import Trainer  # noqa: E402
from tasks.core.progress import ignore_progress  # noqa: E402
from tasks.core.workspace import Workspace  # noqa: E402

COLUMNS = ["recipe", "batch", "steps", "seed", "images on", "train, s", "all, s", "images/s", "val accuracy"]


def main() -> None:
    given = parsed()
    if not tf.config.list_physical_devices("GPU") and not given.on_cpu:
        raise SystemExit("TensorFlow finds no GPU here; --on-cpu tries the script on the CPU")
    tf.config.experimental.enable_op_determinism()
    print(f"{device.name()}, TensorFlow {tf.__version__}, policy {device.policy()}", flush=True)
    with TemporaryDirectory() as folder:
        given.cache = linked(given.tensors, Workspace.open(folder))
        measure(given)


def measure(given: argparse.Namespace) -> None:
    deadline = time.monotonic() + 60 * given.minutes
    check(given)
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    rows: list[list[str]] = []
    for seed, name, size in product(range(given.seeds), given.recipes, given.batch_sizes):
        for resident in (True, False) if seed == 0 else (True,):
            if time.monotonic() > deadline:
                raise SystemExit(f"stopped after {given.minutes:g} minutes")
            rows.append(row(given, name, size, seed, resident))
            print(f"| {' | '.join(rows[-1])} |", flush=True)
            if given.result:
                write(rows, given.result)


def write(rows: list[list[str]], path: Path) -> None:
    result = {"section": "Recipes", "command": "python benchmarks/gpu.py --tensors workspace/tensors/DIGEST"}
    result |= {"device": f"{device.name()}, {device.policy()}, TensorFlow {tf.__version__}", "n": 1}
    result |= {"columns": COLUMNS, "rows": rows, "figures": {}, "pages": {"docs/benchmarks.md": COLUMNS}}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tensors", type=Path, required=True, help="a finished tensor cache")
    parser.add_argument("--recipes", nargs="+", type=RecipeName, default=[RecipeName.fast, RecipeName.good])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[0], help="0: the recipe's own")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60, help="of the comparison of both, of one epoch")
    parser.add_argument("--epochs", type=float, help="instead of the recipes' own")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--result", type=Path, help="where the table is written, as in benchmarks/results")
    parser.add_argument("--on-cpu", action="store_true")
    return parser.parse_args()


def started(
    given: argparse.Namespace, name: RecipeName, seed: int, *, resident: bool, size: int = 0
) -> Trainer:
    train, val = (open_split(given.cache, split) for split in ("train", "val"))
    settings = TrainSettings(recipe=name, epochs=given.epochs, batch_size=size or None)
    recipe = recipes.resolve(settings, len(train.labels))
    plan = StepPlan.of(recipe, seed, len(train.labels), int(np.prod(train.images.shape[1:])))
    classes = int(train.labels.max()) + 1
    return Trainer(plan, train, val, classes, device.policy(recipe.precision), on_gpu=resident)


def check(given: argparse.Namespace) -> None:
    """Points 1 and 2; a difference ends the script."""
    name = given.recipes[0]
    host, on_device = (started(given, name, 0, resident=resident) for resident in (False, True))
    for start in (0, host.plan.per_epoch):
        (expected,) = host.batches.window(start, start + 2)
        values = on_device.batches.window(start, start + 2)
        for step in range(2):
            found = on_device.batches.batch(*[value[step] for value in values])
            same(np.asarray(found).tobytes() == expected[step].numpy().tobytes(), "images")
    advance(host, given.steps)
    advance(on_device, given.steps // 2)
    with TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), on_device.checkpoint())
        resumed = started(given, name, 0, resident=True)
        loop.resume(resumed, Path(folder))
    advance(on_device, given.steps)
    advance(resumed, given.steps)
    same(state(host) == state(on_device), f"variables after {given.steps} steps, images on host and device")
    same(state(resumed) == state(on_device), "variables of a resumed training")


def advance(trainer: Trainer, end: int) -> None:
    while trainer.step < end:
        trainer.run(trainer.plan.window(trainer.step, end - trainer.step))


def state(trainer: Trainer) -> bytes:
    return b"".join(variable.numpy().tobytes() for variable in trainer.variables)


def same(equal: bool, what: str) -> None:
    print(f"{what}: {'the same bytes' if equal else 'DIFFERENT'}", flush=True)
    if not equal:
        raise SystemExit(1)


def row(given: argparse.Namespace, name: RecipeName, size: int, seed: int, resident: bool) -> list[str]:
    """The cells of one training; tracing and compiling count as training."""
    start = time.perf_counter()
    trainer = started(given, name, seed, resident=resident, size=size)
    with TemporaryDirectory() as folder:
        loop.run(trainer, Path(folder), ignore_progress)
    seconds = sum(entry["seconds"] for entry in trainer.history)
    batch = trainer.plan.recipe.batch_size
    return [
        str(name),
        str(batch),
        str(trainer.step),
        str(seed),
        "device" if resident else "host",
        f"{seconds:.1f}",
        f"{time.perf_counter() - start:.1f}",
        f"{trainer.step * batch / seconds:,.0f}",
        f"{trainer.history[-1]['val_accuracy']:.2%}",
    ]


if __name__ == "__main__":
    main()
