"""Loads TensorFlow once and forks trainings from this process: one alone, or a cluster of two on loopback.

python cluster_processes.py FOLDER SETTINGS SCENARIOS

SETTINGS is a JSON object of the training settings' fields, SCENARIOS a JSON list of scenarios (the fields of
`Scenario`). Each process has its own workspace, FOLDER/<scenario's directory>/<process>. Prints one line of
JSON per scenario: the exit status and the log of each process.

python cluster_processes.py mirrored REPLICAS FOLDER TRAININGS

TRAININGS is a JSON list of recipe and number of steps. Compares replicas in one process with one device, and
prints one line of JSON per training (`compare_with_one_device`).
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

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

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
from tasks.core.model.training.train import train_as_worker
from tasks.core.model.training.trainer import Trainer
from tasks.core.operations import environment
from tasks.core.workspace import Workspace
from tests.support import striped_tensors
from tests.support.servers.free_ports import free_ports


class Scenario(NamedTuple):
    """One training by one or several processes.

    Args:
        directory: Name of the directory of its workspaces; a scenario with the same directory resumes the
            training there.
        seeds: Seed of each process's settings: one for a single process, equal ones for a cluster that
            agrees.
        killed: Index of the process that is killed by SIGKILL; -1 for none.
        reports: Number of progress reports of that process before the kill.
        seconds: Seconds between the last of these reports and the kill.
    """

    directory: str
    seeds: list[int]
    killed: int = -1
    reports: int = 0
    seconds: float = 0.0


class Process(NamedTuple):
    """A process of a scenario: its id, the pipe of its progress reports, the path of its log."""

    pid: int
    reports: int
    log: Path


def run_scenario(folder: Path, settings: TrainSettings, scenario: Scenario) -> dict[str, list[str]]:
    """Run a scenario; returns the exit status ("exits") and the log ("logs") of each process."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(scenario.seeds))]
    directory = folder / scenario.directory
    processes = [
        start_process(directory, settings, scenario, addresses, index) for index in range(len(addresses))
    ]
    if scenario.killed >= 0:
        killed = processes[scenario.killed]
        for _ in range(scenario.reports):
            os.read(killed.reports, 1)
        time.sleep(scenario.seconds)
        os.kill(killed.pid, signal.SIGKILL)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]) for process in processes]
    for process in processes:
        os.close(process.reports)
    return {
        "exits": [str(status) for status in statuses],
        "logs": [process.log.read_text() for process in processes],
    }


def start_process(
    directory: Path, settings: TrainSettings, scenario: Scenario, addresses: list[str], index: int
) -> Process:
    """Fork process `index` of a scenario; its standard error goes to its log."""
    read_end, write_end = os.pipe()
    log = directory / f"{index}.log"
    directory.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        os.environ[tf_config.VARIABLE] = json.dumps(config)
        os._exit(
            run_training(directory / str(index), replace(settings, seed=scenario.seeds[index]), write_end)
        )
    os.close(write_end)
    return Process(child, read_end, log)


def run_training(root: Path, settings: TrainSettings, reports: int) -> int:
    """Train in a workspace, in the child process; returns its exit code.

    Args:
        root: Root of the workspace.
        settings: How to train.
        reports: File descriptor that gets one byte per progress report.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    environment.prepare_command()
    workspace = Workspace.open(root)
    data = striped_tensors.cache(workspace)
    train = train_as_worker if tf_config.is_worker() else train_stage.train
    try:
        train(data, settings, workspace, progress=lambda *_: os.write(reports, b".") and None)
    except PlumblineError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def compare_with_one_device(
    replica_group: ReplicaGroup, folder: Path, recipe: str, steps: int
) -> dict[str, float]:
    """Train a few steps on a group of replicas and on one device, and compare the results.

    Returns:
        Largest difference of any of the variables, relative to the variable's largest value; of any
        validation logit and of any image's last loss, absolute; of the summed loss, relative; and of the
        number of correct predictions.
    """
    data = striped_tensors.cache(Workspace.open(folder))
    fitted = recipes.resolve(TrainSettings(recipe=RecipeName(recipe)), data.train)
    plan = StepPlan.of(replace(fitted, batch_size=33, easy_left_out=0.5), 0, data.train)
    splits = open_split(data, "train"), open_split(data, "val")
    single, group = (
        Trainer(plan, *splits, len(data.classes), devices=devices)
        for devices in (SINGLE_DEVICE, replica_group)
    )
    for trainer in (single, group):
        while trainer.step < steps:
            trainer.run(min(steps, plan.window(trainer.step, 3)))
    values = [(a.numpy(), b.numpy()) for a, b in zip(single.variables, group.variables, strict=True)]
    return {
        "variables": max(float(np.abs(a - b).max() / (np.abs(a).max() + 1e-9)) for a, b in values),
        "logits": float(np.abs(single.val_logits() - group.val_logits()).max()),
        "losses": float(np.nanmax(np.abs(single.order.state[0] - group.order.state[0]))),
        "loss": abs(single.epoch_totals[0] / group.epoch_totals[0] - 1),
        "correct": abs(single.epoch_totals[1] - group.epoch_totals[1]),
    }


def main() -> None:
    """Run the scenarios or comparisons of the command line."""
    if sys.argv[1] == "mirrored":
        replicas = int(sys.argv[2])
        devices = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
        tf.config.experimental.enable_op_determinism()
        # One strategy for all: two strategies in one process would receive each other's messages.
        replica_group = gpus([f"CPU:{number}" for number in range(replicas)])
        for recipe, steps in json.loads(sys.argv[4]):
            differences = compare_with_one_device(replica_group, Path(sys.argv[3]), recipe, steps)
            print(json.dumps(differences), flush=True)
        return
    fields = json.loads(sys.argv[2])
    settings = TrainSettings(**fields | {"recipe": RecipeName(fields["recipe"])})
    for fields in json.loads(sys.argv[3]):
        print(json.dumps(run_scenario(Path(sys.argv[1]), settings, Scenario(*fields))), flush=True)


if __name__ == "__main__":
    main()
