"""The ledger: every decision with its evidence, and how often a test set has been looked at for one.

    models/<dataset>/decisions.jsonl          one line a decision
    models/<dataset>/decisions/<digest>.json  its evidence

Each look at the same test images lets a little of them leak into the choice of the model: of many equal
challengers, some seem better by chance. The ledger counts the looks, and the report says the number.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.registry import commits, layout, log
from tasks.core.registry.commits import DECISION_LOG, DECISIONS
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import atomic, hashing
from tasks.core.workspace import Workspace


def test_set(tensors: TensorCache) -> str:
    """A name for the test images and labels by their content: the same in any tensor cache that has them."""
    files = tensors.manifest["files"]
    return hashing.digest_of([files["test.images.npy"]["sha256"], files["test.labels.npy"]["sha256"]])


@commits.retry_on_conflict
def record_decision(
    line: Mapping[str, Any], evidence: Mapping[str, Any], dataset: str, workspace: Workspace
) -> None:
    """Write a decision down, unless the model's last decision was this very one.

    Args:
        line: who, version, challenger and champion (SHA-256 of the models), test_set, looked (whether the
            test images decided), promoted; JSON values.
        evidence: See `Decision`; the line refers to it by digest.
    """
    digest = hashing.digest_of(evidence)
    with layout.locked_folder(dataset, workspace) as place:
        last = _last(place / DECISION_LOG, str(line["challenger"]))
        if last is not None and last["evidence"] == digest:
            return
        (place / DECISIONS).mkdir(exist_ok=True)
        content = json.dumps(dict(evidence), indent=1, ensure_ascii=False)
        atomic.write_bytes(place / DECISIONS / f"{digest}.json", content.encode())
        log.append(place / DECISION_LOG, log.record(**{"action": "decide", **line, "evidence": digest}))


def read_decisions(dataset: str, workspace: Workspace) -> list[dict[str, Any]]:
    """All decisions about the dataset's models, oldest first."""
    return log.read(layout.synced_folder(dataset, workspace) / DECISION_LOG)


def evidence_of(model_sha256: str, dataset: str, workspace: Workspace) -> dict[str, Any]:
    """The evidence of a model's last decision; empty if the gate never saw it."""
    place = layout.synced_folder(dataset, workspace)
    last = _last(place / DECISION_LOG, model_sha256)
    if last is None:
        return {}
    evidence = dict(json.loads((place / DECISIONS / f"{last['evidence']}.json").read_bytes()))
    for row in evidence.get("classes", []):
        row.setdefault("class_name", row.get("class"))  # its name in Plumbline 0.1.0
    return evidence


def test_set_uses(dataset: str, test_set: str, workspace: Workspace) -> int:
    """How many different pairs of models these test images have decided between."""
    pairs = {
        (line["challenger"], line["champion"])
        for line in read_decisions(dataset, workspace)
        if line["looked"] and line["test_set"] == test_set
    }
    return len(pairs)


def _last(lines: Path, challenger: str) -> dict[str, Any] | None:
    own = [line for line in log.read(lines) if line["challenger"] == challenger]
    return own[-1] if own else None
