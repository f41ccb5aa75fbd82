"""Loads TensorFlow once, forks trainings from this process and stops them by signals.

python killed_training_process.py WORKSPACE CACHE SETTINGS SIGNALS MAX_REPORTS SEED

CACHE and SETTINGS are JSON objects of the fields of a tensor cache and of the training settings. SIGNALS is a
JSON list of signal numbers. One training is started per signal, and gets it at a random moment after at most
MAX_REPORTS progress reports, so that the machine's speed does not matter. A last training runs to its end.
Prints one line of JSON per training: how it ended, and the step of the newest intact checkpoint.
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

import tensorflow as tf  # noqa: F401 - imported before the forks, which only saves time

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.model.training import checkpoint, train
from tasks.core.operations import environment
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace


class Stop(NamedTuple):
    """When and how a training is stopped: after progress reports and then seconds, by a signal."""

    reports: int
    seconds: float
    signal: int


def run_child(cache: TensorCache, settings: TrainSettings, workspace: Workspace, stop: Stop | None) -> str:
    """Train in a child process and stop it; without a stop it runs to its end. Returns how it ended."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_train(cache, settings, workspace, write_end))
    os.close(write_end)
    if stop is not None:
        for _ in range(stop.reports):
            os.read(read_end, 1)
        time.sleep(stop.seconds)
        os.kill(child, stop.signal)
    _, status = os.waitpid(child, 0)
    os.close(read_end)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def _train(cache: TensorCache, settings: TrainSettings, workspace: Workspace, reports: int) -> int:
    """Train; returns the exit code of the flows' commands, and a shell's 130 for Ctrl-C.

    `reports` is a file descriptor that gets one byte per progress report.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    environment.prepare_command()
    try:
        train.train(cache, settings, workspace, progress=lambda *_: os.write(reports, b".") and None)
    except SystemExit as exit_request:
        return int(exit_request.code or 0)
    except KeyboardInterrupt:
        return 130
    return 0


def random_stop(generator: random.Random, max_reports: int, number: int) -> Stop:
    """A stop after at most `max_reports` reports; SIGKILL may come before the first, during tracing."""
    reports = generator.randint(0 if number == signal.SIGKILL else 1, max_reports)
    return Stop(reports, generator.uniform(0, 0.1 if reports else 3), number)


def main() -> None:
    """Run the trainings of the command line."""
    workspace = Workspace.open(sys.argv[1])
    fields = json.loads(sys.argv[2])
    cache = TensorCache(**fields | {"classes": tuple(fields["classes"]), "shape": tuple(fields["shape"])})
    fields = json.loads(sys.argv[3])
    settings = TrainSettings(**fields | {"recipe": RecipeName(fields["recipe"])})
    checkpoints = workspace.root / "training" / f"{train.ingredients(cache, settings).digest}.checkpoints"
    generator = random.Random(int(sys.argv[6]))
    for number in json.loads(sys.argv[4]):
        end = run_child(cache, settings, workspace, random_stop(generator, int(sys.argv[5]), number))
        saved, damaged = checkpoint.latest(checkpoints)
        print(
            json.dumps({"end": end, "step": saved.step if saved else 0, "damaged": len(damaged)}), flush=True
        )
    print(json.dumps({"end": run_child(cache, settings, workspace, None)}), flush=True)


if __name__ == "__main__":
    main()
