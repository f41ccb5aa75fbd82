"""Publishes with many processes that are killed at random moments, and checks the registry afterwards."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from tasks.core.registry import layout, registry
from tasks.core.stage import ingredients, publish
from tasks.core.stage.handles import Evaluation
from tasks.core.storage import manifests
from tasks.core.workspace import MIRRORS

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import json, sys
from tasks.core.stage.handles import Evaluation, TrainedModel
from tasks.core.registry import commit_files, registry
from tasks.core.storage.workspaces import open_workspace
commit_files.FOLD_EVERY = 5  # of 200, so that a workspace at an address has some
workspace = open_workspace(sys.argv[1])
who = sys.argv[2]
facts = {"classes": ["no", "yes"], "shape": [8, 8, 3]}
for line in open(sys.argv[3]):
    trained, evaluation = json.loads(line)
    handles = TrainedModel(**trained), Evaluation(**evaluation)
    version = registry.publish(*handles, "animals", facts, workspace, who=who)
    registry.promote("animals", version.version, workspace, who=who, why="newest")
    print(version.version, flush=True)
"""


def work(fake, name: str, template: Evaluation) -> tuple[dict, dict]:
    """Handles of a model and of its evaluation, as dictionaries; all evaluations have the same scores."""
    trained = fake.trained(name)
    evaluation_ingredients = ingredients.Ingredients("evaluate", {"model": trained.model_sha256}, {})
    directory = fake.workspace.root / "evaluations" / evaluation_ingredients.digest

    def copy(staging: Path) -> dict:
        for file in template.directory.glob("*.*"):
            if file.name != manifests.MANIFEST:
                (staging / file.name).write_bytes(file.read_bytes())
        return {**template.manifest["facts"], "model_sha256": trained.model_sha256}

    facts = publish.publish(directory, evaluation_ingredients, copy)["facts"]
    path = fake.workspace.relative(directory)
    return trained.as_dict(), Evaluation(path=path, digest=evaluation_ingredients.digest, **facts).as_dict()


def start(fake, who: str, listing: Path) -> subprocess.Popen:
    """Start a writer process; in a workspace at an address each writer has its own mirror."""
    mirror = {MIRRORS: str(listing.with_suffix(""))} if fake.workspace.address else {}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, fake.workspace.address or str(fake.workspace.root), who, str(listing)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | mirror,
    )


def publish_concurrently(
    fake, writers: int, models: int, kills_wanted: int, seed: int, patience: float
) -> int:
    """Let each writer publish `models` models, and kill and restart writers at random.

    Args:
        fake: The fake outputs, with the workspace.
        writers: Number of writer processes.
        models: Number of models per writer.
        kills_wanted: Number of kills after which the writers run undisturbed.
        seed: Seed of the random kills.
        patience: Time limit in seconds.

    Returns:
        The number of kills.
    """
    generator = random.Random(seed)
    small = fake.with_fields(classes=("no", "yes"), images=40)
    template = small.evaluation("template", 2.0)
    listings = []
    for writer in range(writers):
        listing = fake.workspace.root / f"writer{writer}.jsonl"
        jobs = [work(small, f"model {writer} {number}", template) for number in range(models)]
        listing.write_text("".join(json.dumps(job) + "\n" for job in jobs))
        listings.append(listing)
    running = {writer: start(fake, f"writer {writer}", listings[writer]) for writer in range(writers)}
    running[
        0
    ].stdout.readline()  # it is at its second model; on a fast machine a random kill would come too late
    running[0].kill()
    kills, deadline = 1, time.monotonic() + patience
    while running:
        assert time.monotonic() < deadline, "the writers did not finish in time"
        time.sleep(generator.uniform(0.05, 0.4))
        for writer, process in list(running.items()):
            if process.poll() == 0:
                del running[writer]
            elif process.poll() is not None:
                assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()
                running[writer] = start(fake, f"writer {writer}", listings[writer])
        if running and kills < kills_wanted and generator.random() < 0.5:
            generator.choice(list(running.values())).kill()
            kills += 1
    return kills


def check(fake, published: int) -> None:
    """Assert that the registry is consistent and has this number of versions."""
    directory = fake.workspace.models / "animals"
    with layout.locked_folder("animals", fake.workspace):
        pass  # taking the lock removes the leftovers of the writer that was killed last
    names = layout.version_names(directory)
    assert names == [f"v{number:04d}" for number in range(1, published + 1)]
    models = {registry.resolve("animals", name, fake.workspace).model_sha256 for name in names}
    assert len(models) == published
    for version in registry.versions("animals", fake.workspace):
        content = (version.directory / "model.keras").read_bytes()
        assert sha256(content).hexdigest() == version.model_sha256
    aliases = registry.aliases("animals", fake.workspace)
    assert set(aliases) == {"champion", "previous"}
    assert set(aliases.values()) <= set(names)
    entries = registry.history("animals", fake.workspace)
    assert sorted(line["version"] for line in entries if line["action"] == "publish") == names
    moves = [line for line in entries if line["action"] == "promote"]
    assert all(line["before"] == earlier["version"] for earlier, line in pairwise(moves))
    assert moves[-1]["version"] == aliases["champion"]
    assert [path.name for path in directory.glob(".*.tmp")] == []
