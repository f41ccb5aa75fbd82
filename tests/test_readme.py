"""The README says what the code does: its tables, its commands, its targets."""

import re
from pathlib import Path
from types import ModuleType

import duckdb
import pandas
import polars
import pytest
import typer
from typer.testing import CliRunner

from tasks.core.operations.command_line import documented
from tasks.core.runs import tables
from tasks.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tables_section() -> str:
    parts = [
        f"<details><summary><code>{name}</code></summary>\n\n{tables.columns_markdown(name)}\n\n</details>"
        for name in tables.SCHEMAS
    ]
    return "\n\n".join(parts)


def test_the_tables_columns_are_the_schemas() -> None:
    """On a difference: python tests/test_readme.py writes the section anew."""
    section = re.search(r"<!-- tables:.*?-->\n(.*?)\n<!-- /tables -->", README, re.DOTALL)
    assert section is not None
    assert section[1].strip() == tables_section()


def test_every_option_that_is_shown_exists() -> None:
    from flows import predict_flow, sweep_flow, train_flow

    known = set()
    for flow in (train_flow.train_flow, predict_flow.predict_flow, sweep_flow.sweep_flow):
        app = typer.Typer()
        app.command()(documented(flow.fn, lambda **_: None))
        known |= set(
            re.findall(
                r"--[a-z][a-z0-9-]+", CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
            )
        )
    commands = [line for line in README.splitlines() if re.search(r"make train|_flow\.py ", line)]
    shown = {option for line in commands for option in re.findall(r"--[a-z][a-z0-9-]+", line)}
    assert shown - known == set()
    assert "--dataset" in shown


@pytest.mark.parametrize("library", [pandas, polars, duckdb], ids=lambda library: library.__name__)
def test_the_one_liners_read_the_tables(
    library: ModuleType, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run, accuracy in (("r1", 0.8), ("r2", 0.9)):
        tables.append("runs", "digits", run, pandas.DataFrame([{"accuracy": accuracy}]), workspace)
    monkeypatch.chdir(workspace.root.parent)
    name = library.__name__
    (line,) = (line.strip() for line in README.splitlines() if line.startswith(f"    {name}."))
    found = eval(line, {name: library})
    table = found.df() if library is duckdb else found
    assert max(table["max(accuracy)" if library is duckdb else "accuracy"]) == 0.9
    assert set(table["dataset"]) == {"digits"}


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"(?:^ {4}|`)make ([a-z][a-z-]*)", README, re.MULTILINE))
    assert {"train", "test"} <= shown <= targets


def test_every_file_that_is_shown_exists() -> None:
    links = set(re.findall(r"\]\((?!http)([^)#]+)\)", README))
    files = set(re.findall(r"`((?:tasks|flows|tests|docs|deployments|benchmarks)/[\w./-]+\.\w+)`", README))
    assert [path for path in sorted(links | files) if not (ROOT / path).exists()] == []
    assert links


if __name__ == "__main__":
    whole = re.compile(r"(<!-- tables:.*?-->\n).*?(<!-- /tables -->)", re.DOTALL)
    (ROOT / "README.md").write_text(
        whole.sub(lambda match: f"{match[1]}{tables_section()}\n{match[2]}", README), encoding="utf-8"
    )
