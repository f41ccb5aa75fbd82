"""What the code prints and writes is what README.md, docs/outputs.md and docs/cli.md show."""

import re
from pathlib import Path
from types import ModuleType

import duckdb
import pandas
import polars
import pyarrow.parquet
import pytest
from pyarrow import parquet

from tasks.core.runs import tables
from tasks.core.stage.stages import STAGES
from tasks.core.workspace import Workspace
from tests.docs import generate, outputs_page, pages
from tests.support.run_cli import Plumbline

ROOT = pages.ROOT


def normalised(printed: str) -> tuple[list[str], list[float]]:
    """The lines without what differs between two runs, and the percentages."""
    lines = [line.rstrip() for line in printed.strip().splitlines() if not line.startswith("  epoch")]
    text = "\n".join([re.sub(r":.*", ": ...", lines[0]), *lines[1:]])
    text = re.sub(r"\S*/workspace/", "workspace/", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "<digest>", text)
    text = re.sub(r" +[\d.]+ (?:s|ms|m \d+ s)$", " <time>", text, flags=re.MULTILINE)
    share = re.compile(r"\d+\.\d+(?= ?%)|(?<=interval )\d+\.\d+|(?<=to )\d+\.\d+(?=\))|(?<=macro-F1 )\d\.\d+")
    return share.sub("<share>", text).splitlines(), [float(value) for value in share.findall(text)]


def check_that_outputs_are_described(workspace: Path) -> None:
    """Compare a workspace with the tree and the columns in docs/outputs.md."""
    folders = {path.name for path in workspace.iterdir() if not path.name.startswith(".")}
    assert folders <= {path.partition("/")[0] for path in outputs_page.TREE}
    for folder in outputs_page.TREE:
        if folder.endswith("/<digest>/"):
            written = {path.name for path in workspace.glob(f"{folder.partition('/')[0]}/[0-9a-f]*/*")}
            assert written - {"manifest.json"} <= outputs_page.files_in(folder)
    (issues,) = workspace.glob("label_issues/*/label_issues.parquet")
    assert parquet.read_schema(issues).names == list(outputs_page.ISSUES)


def test_first_run_of_the_readme_shows_the_stages_of_a_photo_run() -> None:
    """The run itself takes minutes and needs photos; `tests/flows/test_photos.py` has such runs."""
    blocks = pages.blocks(ROOT / "README.md")
    shown = next(block for block in blocks if block.language == "text").text
    with_options = {"export", "cross_validate", "train_on_all"}  # or with fewer test images
    names = [stage.name for stage in STAGES if stage.name not in with_options]
    found = [line.split()[0] for line in shown.splitlines() if line and not line.startswith(" ")]
    assert list(dict.fromkeys(name for name in found if name in names)) == names


@pytest.mark.slow
def test_first_run_prints_what_getting_started_shows(plumbline: Plumbline) -> None:
    blocks = pages.blocks(ROOT / "docs" / "getting-started.md")
    number = next(n for n, block in enumerate(blocks) if block.language == "text")
    command, shown = blocks[number - 1].text.split(), blocks[number].text
    assert command == ["plumbline", "train"]
    version = re.match(r"plumbline ([\d.]+): train", shown)
    lines, shares = normalised(plumbline.ok())
    check_that_outputs_are_described(plumbline.workspace)
    shown_lines, shown_shares = normalised(shown)
    assert shown_lines == lines
    assert shown_shares == pytest.approx(shares, abs=2)
    assert version is not None
    from tasks.core import __version__

    assert version[1] == __version__


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
