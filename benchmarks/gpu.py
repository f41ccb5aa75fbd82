"""Trainings on a GPU: the images on the device against the host's, resuming, accuracy and time.

python benchmarks/gpu.py --tensors workspace/tensors/DIGEST [--recipes fast good] [--seeds 2] [--on-cpu]

1. Images of two epochs' first steps, gathered on the device and on the host: the same bytes.
2. `--steps` steps with both, and once more from a checkpoint half-way: the same bytes of all variables.
3. Each recipe and seed: seconds of training, images per second, val accuracy; the images on the device. The
   first seed also with the images on the host.

It stops after `--minutes`, with the rows that it has. Without a GPU it refuses, unless `--on-cpu` is given,
which is for trying the script itself.
"""

import argparse
import sys
import time
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
    print("\n| recipe | seed | images | train seconds | images/s | val accuracy |\n|---|---|---|---|---|---|")
    for seed in range(given.seeds):
        for name in given.recipes:
            for resident in (True, False) if seed == 0 else (True,):
                if time.monotonic() > deadline:
                    raise SystemExit(f"stopped after {given.minutes:g} minutes")
                row(given, name, seed, resident)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tensors", type=Path, required=True, help="a finished tensor cache")
    parser.add_argument("--recipes", nargs="+", type=RecipeName, default=[RecipeName.fast, RecipeName.good])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60, help="of the comparison of both, of one epoch")
    parser.add_argument("--epochs", type=float, help="instead of the recipes' own")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--on-cpu", action="store_true")
    return parser.parse_args()


def started(given: argparse.Namespace, name: RecipeName, seed: int, *, resident: bool) -> Trainer:
    train, val = (open_split(given.cache, split) for split in ("train", "val"))
    recipe = recipes.resolve(TrainSettings(recipe=name, epochs=given.epochs), len(train.labels))
    plan = StepPlan.of(recipe, seed, len(train.labels), int(np.prod(train.images.shape[1:])))
    classes = int(train.labels.max()) + 1
    return Trainer(plan, train, val, classes, device.policy(recipe.precision), resident=resident)


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


def row(given: argparse.Namespace, name: RecipeName, seed: int, resident: bool) -> None:
    """One training; tracing and compiling count as training."""
    trainer = started(given, name, seed, resident=resident)
    with TemporaryDirectory() as folder:
        loop.run(trainer, Path(folder), ignore_progress)
    seconds = sum(entry["seconds"] for entry in trainer.history)
    images = trainer.step * trainer.plan.recipe.batch_size
    print(
        f"| {name} | {seed} | {'device' if resident else 'host'} | {seconds:.1f} | {images / seconds:,.0f} "
        f"| {trainer.history[-1]['val_accuracy']:.2%} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
