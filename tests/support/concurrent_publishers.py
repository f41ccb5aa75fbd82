"""Many processes publish at once and are killed at random moments; the registry must come out whole."""

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

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import json, sys
from tasks.core.stage.handles import Evaluation, TrainedModel
from tasks.core.registry import registry
from tasks.core.storage.mirror import open_workspace
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
    """Handles of a model and of its evaluation; the scores are all alike."""
    trained = fake.trained(name)
    made_of = ingredients.Ingredients("evaluate", {"model": trained.model_sha256}, {})
    directory = fake.workspace.root / "evaluations" / made_of.digest

    def copy(staging: Path) -> dict:
        for file in template.directory.glob("*.*"):
            if file.name != manifests.MANIFEST:
                (staging / file.name).write_bytes(file.read_bytes())
        return {**template.manifest["facts"], "model_sha256": trained.model_sha256}

    facts = publish.publish(directory, made_of, copy)["facts"]
    path = fake.workspace.relative(directory)
    return trained.as_dict(), Evaluation(path=path, digest=made_of.digest, **facts).as_dict()


def start(fake, who: str, listing: Path) -> subprocess.Popen:
    """A writer; in a workspace at an address each has a mirror of its own."""
    mirror = {MIRRORS: str(listing.with_suffix(""))} if fake.workspace.address else {}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, fake.workspace.address or str(fake.workspace.root), who, str(listing)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | mirror,
    )


def publish_concurrently(fake, writers: int, each: int, kills_wanted: int, seed: int, patience: float) -> int:
    """Let writers publish `each` models, killing and starting them again; returns the kills."""
    chance = random.Random(seed)
    small = fake.made(classes=("no", "yes"), images=40)
    template = small.evaluation("template", 2.0)
    listings = []
    for writer in range(writers):
        listing = fake.workspace.root / f"writer{writer}.jsonl"
        jobs = [work(small, f"model {writer} {number}", template) for number in range(each)]
        listing.write_text("".join(json.dumps(job) + "\n" for job in jobs))
        listings.append(listing)
    running = {writer: start(fake, f"writer {writer}", listings[writer]) for writer in range(writers)}
    running[0].stdout.readline()  # at its second model; on a quick machine chance alone would come too late
    running[0].kill()
    kills, deadline = 1, time.monotonic() + patience
    while running:
        assert time.monotonic() < deadline, "writers wait for each other"
        time.sleep(chance.uniform(0.05, 0.4))
        for writer, process in list(running.items()):
            if process.poll() == 0:
                del running[writer]
            elif process.poll() is not None:
                assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()
                running[writer] = start(fake, f"writer {writer}", listings[writer])
        if running and kills < kills_wanted and chance.random() < 0.5:
            chance.choice(list(running.values())).kill()
            kills += 1
    return kills


def check(fake, published: int) -> None:
    place = fake.workspace.models / "animals"
    with layout.locked_folder("animals", fake.workspace):
        pass  # a writer that was killed last has its leavings cleared up by the next one
    names = layout.version_names(place)
    assert names == [f"v{number:04d}" for number in range(1, published + 1)]
    models = {registry.resolve("animals", name, fake.workspace).model_sha256 for name in names}
    assert len(models) == published
    for version in registry.versions("animals", fake.workspace):
        content = (version.directory / "model.keras").read_bytes()
        assert sha256(content).hexdigest() == version.model_sha256
    known = registry.aliases("animals", fake.workspace)
    assert set(known) == {"champion", "previous"}
    assert set(known.values()) <= set(names)
    told = registry.history("animals", fake.workspace)
    assert sorted(line["version"] for line in told if line["action"] == "publish") == names
    moves = [line for line in told if line["action"] == "promote"]
    assert all(line["before"] == earlier["version"] for earlier, line in pairwise(moves))
    assert moves[-1]["version"] == known["champion"]
    assert [path.name for path in place.glob(".*.tmp")] == []
