"""The outputs of a past run that a review is made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.config import SourceSettings
from tasks.core.data.readers.base import Reader
from tasks.core.data.sources import acquire
from tasks.core.errors import FormatError, UsageError
from tasks.core.review.decisions import Row, earlier_rows
from tasks.core.review.items import Item, ReviewInputs
from tasks.core.review.models import label_issues_of, models_of, runs_on
from tasks.core.review.pictures import open_source
from tasks.core.runs import explain, reproduce, tables
from tasks.core.stage import publish
from tasks.core.stage.stage import Stage
from tasks.core.stage.stages import AUDIT, DOWNLOAD, FEATURE_AUDIT, NORMALIZE
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class PastRun:
    """A run of a dataset.

    Args:
        row: Its row of the runs table.
        workspace: The workspace with the outputs.
    """

    row: Mapping[str, Any]
    workspace: Workspace

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return str(self.row["dataset"])

    @property
    def title(self) -> str:
        """Dataset and version."""
        return f"{self.dataset} {self.row['version'] or ''}".strip()

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that decide the outcome."""
        return reproduce.parameters(self.row)

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The records of its stages, by name."""
        return dict(json.loads(self.row["stages"]))

    def output(self, stage: Stage[Any]) -> Any:
        """The output of a stage, or None if the run did not make it.

        Raises:
            FormatError: It is not there any more.
        """
        digest = self.stages.get(stage.name, {}).get("digest")
        return of_digest(stage, digest, self.workspace) if digest else None

    @property
    def corrections(self) -> Path | None:
        """The file of corrections that it was trained with, if it is still there.

        A file in the workspace is an output of a stage, such as a form that was filled in, and is not one to
        write to.
        """
        given = self.parameters.get("corrections")
        path = Path(given) if given else None
        is_output = path is not None and path.resolve().is_relative_to(self.workspace.root)
        return path if path and path.is_file() and not is_output else None

    def inputs(self, label_next: Sequence[Item] = ()) -> ReviewInputs:
        """What a review is made from, with the models of earlier runs on the same tensors.

        Args:
            label_next: Images without a label.
        """
        tensors = self.output(NORMALIZE)
        runs = runs_on(tensors, self.workspace)
        return ReviewInputs(
            tensors,
            models_of(runs, tensors, self.workspace),
            label_issues=label_issues_of(runs, self.workspace),
            audit=self.output(FEATURE_AUDIT) or self.output(AUDIT),
            reader=self.reader(),
            label_next=label_next,
        )

    def earlier_rows(self) -> list[Row]:
        """The corrections that the run was trained with."""
        return earlier_rows(DOWNLOAD.directory(self.stages[DOWNLOAD.name]["digest"], self.workspace))

    def reader(self) -> Reader | None:
        """The source with its corrections; None if it cannot be read, or has no larger pictures."""
        given = self.parameters
        archive = given.get("archive") and Path(given["archive"])
        source = SourceSettings(given["dataset"], archive, given.get("archive_sha256"))
        return open_source(lambda: acquire.acquire(source, self.workspace))


def find_run(run: str, dataset: str | None, workspace: Workspace) -> PastRun:
    """A run of the runs table.

    Args:
        run: The id of a run, or "last".
        dataset: Only this dataset's runs; None for all.
        workspace: The workspace with the runs.

    Raises:
        UsageError: There is no such run.
    """
    if dataset is not None and run == "last":
        runs = tables.read("runs", workspace, dataset).sort_values("started")
        if runs.empty:
            known = ", ".join(sorted(set(tables.read("runs", workspace, columns=["dataset"])["dataset"])))
            raise UsageError(
                f"there is no run of {dataset}", expected=f"a dataset with runs: {known or 'none yet'}"
            )
        return PastRun(runs.iloc[-1].to_dict(), workspace)
    return PastRun(explain.run_of(run, workspace).to_dict(), workspace)


def of_digest(stage: Stage[Any], digest: str, workspace: Workspace) -> Any:
    """The output of a stage; in a workspace at an address it may be downloaded.

    Raises:
        FormatError: It is not there.
    """
    directory = stage.directory(digest, workspace)
    problem = publish.ensure_local(directory)
    output = stage.of_digest(digest, workspace)
    if output is None:
        raise FormatError(
            f"an output of the stage {stage.name} is missing",
            expected=f"{directory}",
            found=problem or "an incomplete folder",
            todo="train again: what is there is reused",
        )
    return output
