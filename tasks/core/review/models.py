"""The models of earlier runs on the same tensors: their mistakes are shown with those of the newest one."""

import json
from typing import Any

import pandas as pd

from tasks.core.runs import tables
from tasks.core.stage import publish
from tasks.core.stage.handles import Evaluation, LabelIssues, TensorCache
from tasks.core.stage.stages import EVALUATE, LABEL_ISSUES
from tasks.core.workspace import Workspace

MODELS = 8  # the newest ones, with the champions that they were compared with


def runs_on(tensors: TensorCache, workspace: Workspace) -> pd.DataFrame:
    """The rows of the dataset's runs on these tensors, the newest first."""
    runs = tables.read("runs", workspace, tensors.dataset)
    return runs[runs["tensors"] == tensors.digest].sort_values("started", ascending=False)


def models_of(runs: pd.DataFrame, tensors: TensorCache, workspace: Workspace) -> dict[str, Evaluation]:
    """The evaluations of at most `MODELS` models on the same tensors, the newest first, by version.

    An evaluation that is not there any more is left out.

    Args:
        runs: As `runs_on` returns them.
        tensors: The tensors.
        workspace: The workspace with the outputs.
    """
    models: dict[str, Evaluation] = {}
    for run in runs.to_dict("records"):
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


def label_issues_of(runs: pd.DataFrame, workspace: Workspace) -> list[LabelIssues]:
    """The label issues that the models of these runs found, the newest first; those that are still there."""
    digests = [json.loads(stages).get(LABEL_ISSUES.name, {}).get("digest") for stages in runs["stages"]]
    wanted = list(dict.fromkeys(filter(None, digests)))[:MODELS]
    found = [LABEL_ISSUES.of_digest(digest, workspace) for digest in wanted]
    return [issues for issues in found if issues is not None]


def _evaluation(digest: str, tensors: TensorCache, workspace: Workspace) -> Evaluation | None:
    """An evaluation on these tensors, if its files are there and those of its predictions."""
    evaluation: Any = EVALUATE.of_digest(digest, workspace)
    if evaluation is None or evaluation.tensors != tensors.digest:
        return None
    return None if publish.ensure_local(workspace.root / evaluation.predictions) else evaluation
