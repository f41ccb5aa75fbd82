"""Explanations why stages ran, and the detection of unchanged runs, on small stage outputs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.core.data.files import listing
from tasks.core.data.files.listing import ListedFile
from tasks.core.errors import UsageError
from tasks.core.operations import provenance
from tasks.core.runs import explain, tables, unchanged
from tasks.core.stage import code_hash, publish
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace

PARAMETERS = {"dataset": "pets", "seed": 0}
CAT, DOG = ListedFile("cat/1.png", 10, "c1", "", "cat"), ListedFile("dog/1.png", 11, "d1", "", "dog")


def raw(workspace: Workspace, *files: ListedFile, dataset: str = "pets") -> RawDataset:
    """A listing as the download stage writes it."""
    ingredients = Ingredients(
        "download", {"files": hashing.digest_of([file._asdict() for file in files])}, {"dataset": dataset}
    )
    directory = workspace.root / "raw" / ingredients.digest

    def build(staging: Path) -> dict[str, Any]:
        listing.write(staging, listing.table(files))
        return {}

    publish.publish(directory, ingredients, build)
    path = workspace.relative(directory)
    return RawDataset(
        path, ingredients.digest, dataset=dataset, format="folder", root="/pets", images=len(files)
    )


def trained(workspace: Workspace, **parameters: object) -> str:
    """Write the output of a training; returns its digest."""
    ingredients = Ingredients("train", {"tensors": "t"}, parameters)
    publish.publish(workspace.root / "training" / ingredients.digest, ingredients, lambda staging: {})
    return ingredients.digest


def append_run(
    workspace: Workspace, number: int, download: str, train: str, dataset: str = "pets", **changed: object
) -> None:
    """Append a row to the runs table."""
    entry = {"state": "ran", "seconds": 1.5, "made_in_seconds": 1.5, "why": ["epochs 2 -> 3"]}
    row = {
        "started": datetime(2026, 1, number, tzinfo=UTC),
        "stages": json.dumps({"download": entry | {"digest": download}, "train": entry | {"digest": train}}),
        "parameters": json.dumps(PARAMETERS | {"workspace": f"/somewhere/{number}"}),
        "champion": "",
        "evaluation": "e",
        "source": code_hash.source_digest(),
        "packages": json.dumps(provenance.packages()),
    }
    tables.append("runs", dataset, f"run{number}", pd.DataFrame([row | changed]), workspace)


def test_reasons_changed_files_are_counted(workspace: Workspace) -> None:
    before = raw(workspace, CAT, DOG)
    edited, added = ListedFile("cat/1.png", 10, "c2", "", "cat"), ListedFile("cat/2.png", 9, "c3", "", "cat")
    after = raw(workspace, edited, added)
    record = after.manifest["ingredients"]
    assert explain.reasons("download", before.digest, record, workspace) == [
        "1 file added",
        "1 file removed",
        "1 file edited",
    ]


def test_reasons_changed_parameters_are_named(workspace: Workspace) -> None:
    before = trained(workspace, learning_rate=0.4, epochs=2)
    record = Ingredients("train", {"tensors": "u"}, {"learning_rate": 0.2, "epochs": 2}).record()
    assert explain.reasons("train", before, record, workspace) == [
        "normalize output changed",
        "learning_rate 0.4 -> 0.2",
    ]
    assert explain.reasons("train", "gone", record, workspace) == [
        "the earlier output does not exist any more"
    ]


def test_reasons_another_dataset_is_not_called_a_change_of_files(workspace: Workspace) -> None:
    before, after = raw(workspace, CAT), raw(workspace, DOG, dataset="wolves")
    record = after.manifest["ingredients"]
    assert explain.reasons("download", before.digest, record, workspace) == ["dataset pets -> wolves"]


def test_compare_runs_of_two_datasets_do_not_say_that_a_download_changed(workspace: Workspace) -> None:
    for number, dataset in ((1, "pets"), (2, "wolves")):
        source = raw(workspace, CAT, dataset=dataset).digest
        train = Ingredients("train", {"raw": source}, {})
        publish.publish(workspace.root / "training" / train.digest, train, lambda staging: {})
        append_run(workspace, number, source, train.digest, dataset)
    assert [row["ingredients"] for row in explain.compare_runs("run1", "run2", workspace)] == [
        "dataset pets -> wolves",
        "another dataset",
    ]


def test_reasons_an_input_that_was_not_read_before_is_new(workspace: Workspace) -> None:
    before = trained(workspace)
    record = Ingredients("train", {"tensors": "t", "features": "f"}, {}).record()
    assert explain.reasons("train", before, record, workspace) == ["embed output is new"]


def test_stages_of_run_and_compare_runs_give_rows(workspace: Workspace) -> None:
    source = raw(workspace, CAT, DOG).digest
    append_run(workspace, 1, source, trained(workspace, epochs=2))
    append_run(workspace, 2, source, trained(workspace, epochs=3))
    assert explain.stages_of_run("last", workspace)[1] == {
        "stage": "train",
        "state": "ran",
        "seconds": "1.5",
        "saved": "",
        "why": "epochs 2 -> 3",
    }
    assert explain.compare_runs("run1", "last", workspace) == [
        {"stage": "download", "": "same", "ingredients": ""},
        {"stage": "train", "": "differs", "ingredients": "epochs 2 -> 3"},
    ]
    append_run(workspace, 3, source, "")
    assert explain.compare_runs("last", "run1", workspace)[1] == {
        "stage": "train",
        "": "differs",
        "ingredients": "the earlier run has no such stage",
    }
    with pytest.raises(UsageError, match="no run run7"):
        explain.stages_of_run("run7", workspace)


def test_find_unchanged_run_same_inputs_gives_the_last_run(workspace: Workspace) -> None:
    source = raw(workspace, CAT, DOG)
    assert unchanged.find_unchanged_run(source, PARAMETERS, workspace) is None  # the first run
    append_run(workspace, 1, source.digest, trained(workspace, epochs=2))
    append_run(workspace, 2, source.digest, trained(workspace, epochs=2))
    unchanged_run = unchanged.find_unchanged_run(
        source, PARAMETERS | {"refresh": ["all"], "workspace": "/other"}, workspace
    )
    assert unchanged_run is not None
    assert (
        unchanged_run.verdict == "there is no champion; data, parameters and code unchanged since 2026-01-01"
    )
    assert unchanged_run.row["run_id"] == "run2"


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": json.dumps(PARAMETERS | {"seed": 1})},
        {"source": "other code"},
        {"packages": json.dumps(provenance.packages() | {"numpy": "1.0"})},
        {"champion": "v0001"},
    ],
    ids=["parameters", "code", "libraries", "champion"],
)
def test_find_unchanged_run_changed_row_gives_none(workspace: Workspace, changed: dict[str, str]) -> None:
    source = raw(workspace, CAT, DOG)
    append_run(workspace, 1, source.digest, trained(workspace, epochs=2), **changed)
    assert unchanged.find_unchanged_run(source, PARAMETERS, workspace) is None


def test_find_unchanged_run_other_data_or_missing_output_gives_none(workspace: Workspace) -> None:
    source, train = raw(workspace, CAT, DOG), trained(workspace, epochs=2)
    append_run(workspace, 1, source.digest, train)
    assert unchanged.find_unchanged_run(raw(workspace, CAT), PARAMETERS, workspace) is None
    assert unchanged.find_unchanged_run(source, PARAMETERS, workspace) is not None
    (workspace.root / "training" / train / manifests.MANIFEST).unlink()
    assert unchanged.find_unchanged_run(source, PARAMETERS, workspace) is None
