"""A process that loads TensorFlow once and forks trainings from it, ending those that it is told to.

python killed_training_process.py WORKSPACE CACHE SETTINGS SIGNALS MOST SEED

CACHE and SETTINGS are JSON of a tensor cache's and of the settings' fields. For each of SIGNALS (a JSON list
of numbers) one training is sent the signal at a random moment after at most MOST reports of progress,
whatever the machine's speed; a last one is left alone. Prints a line of JSON for each training: how it
ended, and the step of the newest whole checkpoint.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tensorflow as tf  # noqa: F401 - loaded before the forks, and no more than loaded

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.model.training import checkpoint, train
from tasks.core.operations import environment
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace


class Life(NamedTuple):
    """How a training ends: after some reports of progress and seconds, by a signal."""

    reports: int
    seconds: float
    signal: int


def forked(cache: TensorCache, settings: TrainSettings, workspace: Workspace, life: Life | None) -> str:
    """Train in a child process until its life is over; None lets it go to its end."""
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_trained(cache, settings, workspace, said))
    os.close(said)
    if life is not None:
        for _ in range(life.reports):
            os.read(heard, 1)
        time.sleep(life.seconds)
        os.kill(child, life.signal)
    _, status = os.waitpid(child, 0)
    os.close(heard)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def _trained(cache: TensorCache, settings: TrainSettings, workspace: Workspace, said: int) -> int:
    """The child's exit code: as a shell gives it for Ctrl-C, and as the flows' own commands end."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    environment.prepare_command()
    try:
        train.train(cache, settings, workspace, progress=lambda *_: os.write(said, b".") and None)
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return 130
    return 0


def drawn(moments: random.Random, most: int, number: int) -> Life:
    """Up to `most` reports and a moment; SIGKILL may come before the first, in loading and tracing."""
    reports = moments.randint(0 if number == signal.SIGKILL else 1, most)
    return Life(reports, moments.uniform(0, 0.1 if reports else 3), number)


def main() -> None:
    workspace = Workspace.open(sys.argv[1])
    fields = json.loads(sys.argv[2])
    cache = TensorCache(**fields | {"classes": tuple(fields["classes"]), "shape": tuple(fields["shape"])})
    fields = json.loads(sys.argv[3])
    settings = TrainSettings(**fields | {"recipe": RecipeName(fields["recipe"])})
    folder = workspace.root / "training" / f"{train.ingredients(cache, settings).digest}.checkpoints"
    moments = random.Random(int(sys.argv[6]))
    for number in json.loads(sys.argv[4]):
        how = forked(cache, settings, workspace, drawn(moments, int(sys.argv[5]), number))
        saved, damaged = checkpoint.latest(folder)
        print(
            json.dumps({"how": how, "step": saved.step if saved else 0, "damaged": len(damaged)}), flush=True
        )
    print(json.dumps({"how": forked(cache, settings, workspace, None)}), flush=True)


if __name__ == "__main__":
    main()
