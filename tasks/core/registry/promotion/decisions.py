"""The promotion decisions with their evidence, and how often they have used a test set.

    models/<dataset>/decisions.jsonl          one line per decision
    models/<dataset>/decisions/<digest>.json  its evidence; the sketch of each test set

Each decision that uses the same test images leaks some information about them into the choice of the model:
among many equal challengers, a few seem better by chance. A line says how much of the error rate it spent
(`look`, see `error_budget`), and `sketches` keeps what tells whether a later test set is the same one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError
from tasks.core.evaluation import sketches
from tasks.core.evaluation.sketches import Sketch
from tasks.core.registry import commits, layout, log
from tasks.core.registry.commits import DECISION_LOG, DECISIONS
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import atomic, hashing
from tasks.core.workspace import Workspace

SKETCH_KEYS = {"images", "smallest"}
SAME = 0.5  # a test set of which more than half is new counts as a new one


def test_set(tensors: TensorCache) -> str:
    """A digest of the test images and labels; equal for all tensor caches with the same test set."""
    files = tensors.manifest["files"]
    return hashing.digest_of([files["test.images.npy"]["sha256"], files["test.labels.npy"]["sha256"]])


@commits.retry_on_conflict
def record_decision(
    line: Mapping[str, Any],
    evidence: Mapping[str, Any],
    dataset: str,
    workspace: Workspace,
    sketch: Sketch | None = None,
) -> None:
    """Append a decision, unless the model's last decision has the same evidence.

    Args:
        line: JSON values: who, why, version, challenger and champion (SHA-256 of the models), test_set,
            looked (whether the decision used the test images), look (see `error_budget.Look`; null if it
            spent nothing), promoted.
        evidence: See `Decision`; the line refers to it by digest.
        dataset: Name of the dataset.
        workspace: The workspace with the registry.
        sketch: Of the test set, kept once for each test set.
    """
    with layout.locked_folder(dataset, workspace, create=True) as directory:
        write_decision(directory, line, evidence, sketch)


def write_decision(
    directory: Path, line: Mapping[str, Any], evidence: Mapping[str, Any], sketch: Sketch | None = None
) -> None:
    """What `record_decision` does, for a caller that has locked the dataset's directory."""
    digest = hashing.digest_of(evidence)
    last = _last(directory / DECISION_LOG, str(line["challenger"]))
    if last is not None and last["evidence"] == digest:
        return
    (directory / DECISIONS).mkdir(exist_ok=True)
    if sketch is not None:
        _keep(directory, str(line["test_set"]), sketch)
    content = json.dumps(dict(evidence), indent=1, ensure_ascii=False)
    atomic.write_bytes(directory / DECISIONS / f"{digest}.json", content.encode())
    log.append(directory / DECISION_LOG, log.record(**{"action": "decide", **line, "evidence": digest}))


def read_decisions(dataset: str, workspace: Workspace) -> list[dict[str, Any]]:
    """All decisions on the dataset's models, oldest first."""
    return log.read(layout.synced_folder(dataset, workspace) / DECISION_LOG)


def evidence_of(model_sha256: str, dataset: str, workspace: Workspace) -> dict[str, Any]:
    """The evidence of a model's last decision; empty if there is none.

    Raises:
        RegistryError: Its file is not what was written.
    """
    directory = layout.synced_folder(dataset, workspace)
    last = _last(directory / DECISION_LOG, model_sha256)
    if last is None:
        return {}
    evidence = _read(directory / DECISIONS / f"{last['evidence']}.json")
    for row in evidence.get("classes", []):
        row.setdefault("class_name", row.get("class"))  # the key in Plumbline 0.1.0
    return evidence


def same_test_sets_as(tensors: TensorCache, workspace: Workspace) -> set[str]:
    """The recorded test sets that have at least half of the test images of these tensors, and its own."""
    return same_test_sets(test_set(tensors), sketches.sketch_of(tensors), tensors.dataset, workspace)


def same_test_sets(test_set: str, sketch: Sketch | None, dataset: str, workspace: Workspace) -> set[str]:
    """The recorded test sets that have at least half of a set's images.

    Test sets of earlier versions have no sketch: they are the same only if they are equal.

    Args:
        test_set: The digest of the set; it is always among the result.
        sketch: Its sketch; None for the recorded one.
        dataset: Name of the dataset.
        workspace: The workspace with the registry.
    """
    recorded = _recorded(layout.synced_folder(dataset, workspace))
    now = sketch or recorded.get(test_set)
    if now is None:
        return {test_set}
    return {test_set} | {
        name for name, before in recorded.items() if sketches.share_of_known(now, before) >= SAME
    }


def test_set_uses(dataset: str, test_set: str, workspace: Workspace) -> int:
    """Number of comparisons of two models on this test set or on one that it has most images of."""
    same_sets = same_test_sets(test_set, None, dataset, workspace)
    pairs = {
        (line["challenger"], line["champion"], line["test_set"])
        for line in read_decisions(dataset, workspace)
        if line["looked"] and line["test_set"] in same_sets
    }
    return len(pairs)


def _keep(directory: Path, test_set: str, sketch: Sketch) -> None:
    """Write a sketch, unless it is there; the caller holds the registry's lock.

    Args:
        directory: The dataset's directory in the registry.
        test_set: The digest of the set.
        sketch: Its sketch.
    """
    path = directory / DECISIONS / f"{test_set}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        atomic.write_bytes(path, json.dumps(hashing.sealed(sketch)).encode())


def _recorded(directory: Path) -> dict[str, Sketch]:
    names = {line["test_set"] for line in log.read(directory / DECISION_LOG)}
    paths = {name: directory / DECISIONS / f"{name}.json" for name in names}
    return {name: _read(path) for name, path in paths.items() if path.exists()}


def _read(path: Path) -> dict[str, Any]:
    """The evidence of a decision or the sketch of a test set.

    Raises:
        RegistryError: It is damaged.
    """
    if problem := problem_of(path):
        raise RegistryError(
            f"{path} is damaged",
            expected="the evidence of a decision, or the sketch of a test set",
            found=problem,
            done="nothing was changed",
            todo="restore it from a copy, or let another model be compared",
        )
    return dict(json.loads(path.read_bytes()))


def problem_of(path: Path) -> str:
    """What is wrong with a file of the folder `decisions`; empty if nothing is.

    The name of a decision's evidence is its digest. A sketch has its own.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError):
        return "is damaged"
    if isinstance(content, dict) and {"smallest", hashing.SEAL} & set(content):
        return hashing.seal_problem(content, SKETCH_KEYS)
    return "" if hashing.digest_of(content) == path.stem else "has other content than was written"


def _last(path: Path, challenger: str) -> dict[str, Any] | None:
    decisions = [line for line in log.read(path) if line["challenger"] == challenger]
    return decisions[-1] if decisions else None
