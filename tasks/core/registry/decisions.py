"""The promotion decisions with their evidence, and how often they have used a test set.

    models/<dataset>/decisions.jsonl          one line per decision
    models/<dataset>/decisions/<digest>.json  its evidence

Each decision that uses the same test images leaks some information about them into the choice of the model:
among many equal challengers, a few seem better by chance. These files count the uses, and the report shows
the number.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError
from tasks.core.registry import commits, layout, log
from tasks.core.registry.commits import DECISION_LOG, DECISIONS
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import atomic, hashing
from tasks.core.workspace import Workspace


def test_set(tensors: TensorCache) -> str:
    """A digest of the test images and labels; equal for all tensor caches with the same test set."""
    files = tensors.manifest["files"]
    return hashing.digest_of([files["test.images.npy"]["sha256"], files["test.labels.npy"]["sha256"]])


@commits.retry_on_conflict
def record_decision(
    line: Mapping[str, Any], evidence: Mapping[str, Any], dataset: str, workspace: Workspace
) -> None:
    """Append a decision, unless the model's last decision has the same evidence.

    Args:
        line: JSON values: who, why, version, challenger and champion (SHA-256 of the models), test_set,
            looked (whether the decision used the test images), promoted.
        evidence: See `Decision`; the line refers to it by digest.
        dataset: Name of the dataset.
        workspace: The workspace with the registry.
    """
    digest = hashing.digest_of(evidence)
    with layout.locked_folder(dataset, workspace, create=True) as directory:
        last = _last(directory / DECISION_LOG, str(line["challenger"]))
        if last is not None and last["evidence"] == digest:
            return
        (directory / DECISIONS).mkdir(exist_ok=True)
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
    evidence = _read_evidence(directory / DECISIONS / f"{last['evidence']}.json")
    for row in evidence.get("classes", []):
        row.setdefault("class_name", row.get("class"))  # the key in Plumbline 0.1.0
    return evidence


def test_set_uses(dataset: str, test_set: str, workspace: Workspace) -> int:
    """Number of different pairs of models that were compared on this test set."""
    pairs = {
        (line["challenger"], line["champion"])
        for line in read_decisions(dataset, workspace)
        if line["looked"] and line["test_set"] == test_set
    }
    return len(pairs)


def _read_evidence(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        problem = "" if hashing.digest_of(content) == path.stem else "it has other content than was written"
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem:
        raise RegistryError(
            f"{path} is damaged",
            expected="the evidence of a decision, whose name is its digest",
            found=problem,
            done="nothing was changed",
            todo="restore it from a copy, or let another model be compared",
        )
    return dict(content)


def _last(path: Path, challenger: str) -> dict[str, Any] | None:
    decisions = [line for line in log.read(path) if line["challenger"] == challenger]
    return decisions[-1] if decisions else None
