"""What the artifacts of a run in the dashboard contain. Nothing here imports Prefect."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.markup import markdown
from tasks.core.registry import registry
from tasks.core.runs import explain
from tasks.core.workspace import Workspace

Stages = Mapping[str, Mapping[str, Any]]  # records of a run's stages, as `RunRecord.stages` returns them


@dataclass(frozen=True)
class Artifact:
    """An artifact.

    Args:
        key: Its key: lower-case letters, digits and dashes.
        data: Markdown, or the rows of a table.
        description: What it shows.
    """

    key: str
    data: str | list[dict[str, Any]]
    description: str

    def record(self) -> dict[str, Any]:
        """The artifact as Prefect's API takes it."""
        is_text = isinstance(self.data, str)
        return {
            "key": self.key,
            "type": "markdown" if is_text else "table",
            "data": self.data if is_text else json.dumps(self.data),
            "description": self.description,
        }


def of_unchanged_run(stages: Stages, dataset: str, verdict: str, workspace: Workspace) -> list[Artifact]:
    """The verdict, the stages and the history of champions, of a run in which nothing changed."""
    text = f"## {markdown(dataset)}\n\n**{markdown(verdict)}**"
    found = [Artifact("summary", text, f"summary of {dataset}"), of_stages(stages)]
    champions = of_champions(dataset, workspace)
    return [*found, champions] if champions else found


def of_stages(stages: Stages) -> Artifact:
    """Which stages ran, and why."""
    return Artifact("explain", [*explain.stage_rows(stages)], "which stages ran, and why")


def of_champions(dataset: str, workspace: Workspace) -> Artifact | None:
    """The champions of a dataset, the latest first; None if there was none.

    Each dataset has its own artifact key, so that the dashboard shows the history of the artifact.
    """
    changes = reversed(registry.history(dataset, workspace))
    rows = [
        {name: change.get(name, "") for name in ("when", "version", "before", "action", "why", "who")}
        for change in changes
        if change["action"] in ("promote", "rollback")
    ]
    return Artifact(f"champions-{key(dataset)}", rows, f"champions of {dataset}") if rows else None


def key(dataset: str) -> str:
    """A dataset's name as an artifact key: Prefect allows lower-case letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
