"""What the code prints and writes is what README.md, docs/outputs.md and docs/cli.md show."""

from types import ModuleType

import duckdb
import pandas
import polars
import pyarrow.parquet
import pytest

from tasks.core.runs import tables
from tasks.core.stage.stages import STAGES
from tasks.core.workspace import Workspace
from tests.docs import generate, pages

ROOT = pages.ROOT


def test_first_run_of_the_readme_shows_the_stages_of_a_photo_run() -> None:
    """The run itself takes minutes and needs photos; `tests/flows/test_photos.py` has such runs."""
    blocks = pages.blocks(ROOT / "README.md")
    shown = next(block for block in blocks if block.language == "text").text
    with_options = {"export", "cross_validate", "train_on_all"}  # or with fewer test images
    names = [stage.name for stage in STAGES if stage.name not in with_options]
    found = [line.split()[0] for line in shown.splitlines() if line and not line.startswith(" ")]
    assert list(dict.fromkeys(name for name in found if name in names)) == names


@pytest.mark.parametrize("library", [pandas, pyarrow, polars, duckdb], ids=lambda library: library.__name__)
def test_one_liners_read_the_metrics_tables(
    library: ModuleType, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run, accuracy in (("r1", 0.8), ("r2", 0.9)):
        row = pandas.DataFrame([{"test_accuracy": accuracy, "seed": 3}])
        tables.append("runs", "digits", run, row, workspace)
    monkeypatch.chdir(workspace.root.parent)
    name = library.__name__
    blocks = pages.blocks(ROOT / "docs" / "outputs.md")
    lines = [line for block in blocks for line in block.text.splitlines() if line.startswith(f"{name}.")]
    assert lines
    for line in lines:
        found = eval(line, {name: library, "columns": ["dataset", "test_accuracy"]})
        table = {duckdb: "df", pyarrow: "to_pandas"}.get(library, "")
        table = getattr(found, table)() if table else found
        assert sorted(table["test_accuracy"]) == [0.8, 0.9]
        assert set(table["dataset"]) == {"digits"}


def test_generated_pages_are_what_the_generator_writes() -> None:
    """On a difference: python tests/docs/generate.py."""
    for path, text in generate.generated().items():
        assert path.read_text(encoding="utf-8") == text, path
