"""A process that loads TensorFlow once and forks trainings from it, killing those that it is told to.

python nursery.py WORKSPACE CACHE SETTINGS KILLS MOST SEED

CACHE and SETTINGS are JSON of a tensor cache's and of the settings' fields. Each of KILLS trainings dies of
SIGKILL at a random moment after at most MOST reports of progress, whatever the machine's speed; a last one
is left alone. Prints a line of JSON for each training: how it ended, the step of the newest whole checkpoint.
"""

import json
import logging
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import tensorflow as tf  # noqa: F401 - loaded before the forks, and no more than loaded

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.handles import TensorCache
from tasks.core.model import checkpoint, training
from tasks.core.workspace import Workspace


class Life(NamedTuple):
    """How long a training lives: reports of progress, then seconds."""

    reports: int
    seconds: float


def forked(cache: TensorCache, settings: TrainSettings, workspace: Workspace, life: Life | None) -> str:
    """Train in a child process that dies when its life is over; None lets it live."""
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        status = 1
        try:
            training.train(cache, settings, workspace, progress=lambda *_: os.write(said, b".") and None)
            status = 0
        finally:
            os._exit(status)
    os.close(said)
    if life is not None:
        for _ in range(life.reports):
            os.read(heard, 1)
        time.sleep(life.seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(heard)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def life(moments: random.Random, most: int) -> Life:
    """Up to `most` reports and a moment; without a report anywhere from the start on, also in tracing."""
    reports = moments.randint(0, most)
    return Life(reports, moments.uniform(0, 0.1 if reports else 3))


def main() -> None:
    workspace = Workspace.open(sys.argv[1])
    fields = json.loads(sys.argv[2])
    cache = TensorCache(**fields | {"classes": tuple(fields["classes"]), "shape": tuple(fields["shape"])})
    fields = json.loads(sys.argv[3])
    settings = TrainSettings(**fields | {"recipe": RecipeName(fields["recipe"])})
    folder = workspace.training / f"{training.ingredients(cache, settings).digest}.checkpoints"
    moments = random.Random(int(sys.argv[6]))
    for _ in range(int(sys.argv[4])):
        how = forked(cache, settings, workspace, life(moments, int(sys.argv[5])))
        saved, damaged = checkpoint.latest(folder)
        print(
            json.dumps({"how": how, "step": saved.step if saved else 0, "damaged": len(damaged)}), flush=True
        )
    print(json.dumps({"how": forked(cache, settings, workspace, None)}), flush=True)


if __name__ == "__main__":
    main()
