"""The models of earlier runs on the same tensors: their mistakes are shown with those of the newest one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core.runs import tables
from tasks.core.stage import publish
from tasks.core.stage.handles import Evaluation, LabelIssues, TensorCache
from tasks.core.stage.stages import EVALUATE, LABEL_ISSUES
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

MODELS = 8  # the newest ones, with the champions that they were compared with


Run = Mapping[str, Any]  # a row of the runs table, or a part of it: stages (JSON) and version


def runs_on(tensors: TensorCache, workspace: Workspace) -> list[Run]:
    """The rows of the dataset's runs on these tensors, the newest first."""
    of_tensors = [("tensors", "==", tensors.digest)]
    same = tables.read("runs", workspace, tensors.dataset, filters=of_tensors)
    same = same.sort_values("started", ascending=False)
    return [dict(row) for row in same.to_dict("records")]


def models_of(runs: Sequence[Run], tensors: TensorCache, workspace: Workspace) -> dict[str, Evaluation]:
    """The evaluations of at most `MODELS` models on the same tensors, the newest first, by version.

    An evaluation that is not there any more is left out.

    Args:
        runs: The newest first.
        tensors: The tensors.
        workspace: The workspace with the outputs.
    """
    models: dict[str, Evaluation] = {}
    for run in runs:
        records = json.loads(run["stages"])
        for name, version in (("evaluate", run["version"]), ("evaluate champion", "an earlier champion")):
            digest = records.get(name, {}).get("digest")
            evaluation = _evaluation(digest, tensors, workspace) if digest else None
            known = {model.model_sha256 for model in models.values()}
            if evaluation and evaluation.model_sha256 not in known:
                models[str(version) if version not in models else f"{version}, {digest}"] = evaluation
        if len(models) >= MODELS:
            break
    return models


def classes_of(evaluation: Evaluation, tensors: TensorCache) -> tuple[str, ...]:
    """Names of the columns of a model's probabilities; an earlier champion may know classes of its own."""
    predictions = manifests.read(Workspace.active().root / evaluation.predictions)
    return (*tensors.classes, *predictions["facts"].get("other_classes", ()))


def label_issues_of(runs: Sequence[Run], workspace: Workspace) -> list[LabelIssues]:
    """The label issues that the models of these runs found, the newest first; those that are still there."""
    digests = [json.loads(run["stages"]).get(LABEL_ISSUES.name, {}).get("digest") for run in runs]
    wanted = list(dict.fromkeys(filter(None, digests)))[:MODELS]
    found = [LABEL_ISSUES.of_digest(digest, workspace) for digest in wanted]
    return [issues for issues in found if issues is not None]


def _evaluation(digest: str, tensors: TensorCache, workspace: Workspace) -> Evaluation | None:
    """An evaluation on these tensors, if its files are there and those of its predictions."""
    evaluation: Any = EVALUATE.of_digest(digest, workspace)
    if evaluation is None or evaluation.tensors != tensors.digest:
        return None
    return None if publish.ensure_local(workspace.root / evaluation.predictions) else evaluation
