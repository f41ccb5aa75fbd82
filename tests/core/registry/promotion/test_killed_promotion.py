"""A process that promotes a model is killed where it writes: the next run ends as an undisturbed one."""

import os
import signal
import subprocess
import sys

import pytest

from tasks.core.config import PromotePolicy
from tasks.core.registry import registry
from tasks.core.registry.promotion import decisions, promotion
from tests.support.run_cli import ROOT

pytestmark = pytest.mark.slow
KILLED = """
import os, signal, sys
from tasks.core.workspace import Workspace
from tests.core.registry.promotion.test_killed_promotion import challenge
from tests.support.fake_outputs import FakeOutputs

def killed_where_it_writes(event, arguments):
    target = {"os.rename": 1, "open": 0}.get(event)
    is_written = event == "os.rename" or (event == "open" and str(arguments[1]).startswith("a"))
    if target is not None and is_written and str(arguments[target]).endswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

fake = FakeOutputs(Workspace.open(sys.argv[1]))
sys.addaudithook(killed_where_it_writes)
challenge(fake)
"""


def challenge(fake) -> promotion.Decision:
    """A much better model against the champion."""
    scores = fake.evaluation("two", 4.0, 9), fake.evaluation("one", 1.0)
    facts = {"parameters": {"epochs": 3}}
    return promotion.promote(
        fake.trained("two"), *scores, PromotePolicy.better, fake.tensors(), facts, fake.workspace, who="ann"
    )


@pytest.mark.parametrize("file", ["decisions.jsonl", "aliases.json", "log.jsonl"])
def test_promotion_killed_where_it_writes_keeps_its_evidence_and_its_look(fake, file: str) -> None:
    first = fake.trained("one"), fake.evaluation("one", 1.0), None
    promotion.promote(*first, PromotePolicy.better, fake.tensors(), {}, fake.workspace, who="ann")
    command = [sys.executable, "-c", KILLED, str(fake.workspace.root), f"/{file}"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL

    decision = challenge(fake)
    assert decision.champion == "v0002"
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0002", "previous": "v0001"}
    looks = [line for line in decisions.read_decisions("animals", fake.workspace) if line["looked"]]
    assert [(line["version"], line["promoted"], line["look"]["number"]) for line in looks] == [
        ("v0002", True, 1)
    ]
    assert decision.evidence["look"]["level"] == looks[0]["look"]["level"] > 0
