"""A process that loads TensorFlow once and forks trainings from it: alone, or two on a loopback cluster.

python cluster_processes.py FOLDER SETTINGS SCENES

SETTINGS is JSON of the training settings' fields, SCENES a JSON list of scenes (`Scene`). Each scene's
processes have a workspace each, FOLDER/<scene's place>/<process>. Prints a line of JSON for each scene: how
its processes ended, and what each of them said.

python cluster_processes.py mirrored REPLICAS FOLDER SCENES compares in one process (`mirrored`).
"""

import json
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import tensorflow as tf

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import PlumblineError
from tasks.core.model.devices import tf_config
from tasks.core.model.devices.replicas import SINGLE_DEVICE, ReplicaGroup, gpus
from tasks.core.model.training import train as train_stage
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.train import follow
from tasks.core.model.training.trainer import Trainer
from tasks.core.operations import environment
from tasks.core.workspace import Workspace
from tests.support import striped_tensors
from tests.support.free_ports import free_ports


class Scene(NamedTuple):
    """One training by some processes.

    Args:
        place: Folder of its workspaces; the same place again goes on from what is there.
        seeds: Of each process's settings: one for a process alone, equal ones for a cluster that agrees.
        killed: Which process is killed (-9); -1 for none.
        reports: After so many of its reports of progress.
        seconds: And so many seconds.
    """

    place: str
    seeds: list[int]
    killed: int = -1
    reports: int = 0
    seconds: float = 0.0


class Player(NamedTuple):
    """A process of a scene: its id, the pipe of its reports, the file of what it says."""

    pid: int
    heard: int
    said: Path


def played(folder: Path, settings: TrainSettings, scene: Scene) -> dict[str, list[str]]:
    """How each process of a scene ended, and what it said."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(scene.seeds))]
    players = [entered(folder / scene.place, settings, scene, addresses, n) for n in range(len(addresses))]
    if scene.killed >= 0:
        for _ in range(scene.reports):
            os.read(players[scene.killed].heard, 1)
        time.sleep(scene.seconds)
        os.kill(players[scene.killed].pid, signal.SIGKILL)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(player.pid, 0)[1]) for player in players]
    for player in players:
        os.close(player.heard)
    return {"how": [str(status) for status in statuses], "said": [one.said.read_text() for one in players]}


def entered(place: Path, settings: TrainSettings, scene: Scene, addresses: list[str], number: int) -> Player:
    heard, reports = os.pipe()
    said = place / f"{number}.log"
    place.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 2)
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
        os.environ[tf_config.VARIABLE] = json.dumps(config)
        os._exit(trained(place / str(number), replace(settings, seed=scene.seeds[number]), reports))
    os.close(reports)
    return Player(child, heard, said)


def trained(place: Path, settings: TrainSettings, reports: int) -> int:
    """The child's exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    environment.prepare_command()
    workspace = Workspace.open(place)
    data = striped_tensors.cache(workspace)
    train = follow if tf_config.is_worker() else train_stage.train
    try:
        train(data, settings, workspace, progress=lambda *_: os.write(reports, b".") and None)
    except PlumblineError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def mirrored(together: ReplicaGroup, folder: Path, recipe: str, steps: int) -> dict[str, float]:
    """How far a training on a team's devices is from one on one device after some steps.

    Returns:
        Largest difference of any of the variables, relative to the variable's largest value; of any
        validation logit, absolute; of the summed loss, relative; and of the images that were right.
    """
    data = striped_tensors.cache(Workspace.open(folder))
    fitted = recipes.resolve(TrainSettings(recipe=RecipeName(recipe)), data.train)
    plan = StepPlan.of(replace(fitted, batch_size=33), 0, data.train)
    splits = open_split(data, "train"), open_split(data, "val")
    alone, both = (
        Trainer(plan, *splits, len(data.classes), devices=who) for who in (SINGLE_DEVICE, together)
    )
    for one in (alone, both):
        while one.step < steps:
            one.run(min(steps, plan.window(one.step, 3)))
    pairs = [(a.numpy(), b.numpy()) for a, b in zip(alone.variables, both.variables, strict=True)]
    return {
        "variables": max(float(np.abs(a - b).max() / (np.abs(a).max() + 1e-9)) for a, b in pairs),
        "logits": float(np.abs(alone.val_logits() - both.val_logits()).max()),
        "loss": abs(alone.epoch_totals[0] / both.epoch_totals[0] - 1),
        "right": abs(alone.epoch_totals[1] - both.epoch_totals[1]),
    }


def main() -> None:
    if sys.argv[1] == "mirrored":
        replicas = int(sys.argv[2])
        devices = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
        tf.config.experimental.enable_op_determinism()
        # One strategy only: two in one process would take each other's messages.
        together = gpus([f"CPU:{number}" for number in range(replicas)])
        for recipe, steps in json.loads(sys.argv[4]):
            print(json.dumps(mirrored(together, Path(sys.argv[3]), recipe, steps)), flush=True)
        return
    fields = json.loads(sys.argv[2])
    settings = TrainSettings(**fields | {"recipe": RecipeName(fields["recipe"])})
    for scene in json.loads(sys.argv[3]):
        print(json.dumps(played(Path(sys.argv[1]), settings, Scene(*scene))), flush=True)


if __name__ == "__main__":
    main()
