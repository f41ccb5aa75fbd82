"""docs/try_it.ipynb runs from top to bottom, as in a clone; without one it says what it needs."""

import os
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "try_it.ipynb"

pytestmark = pytest.mark.slow


def executed(folder: Path, environment: dict[str, str], cells: int | None = None) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = notebook.cells[:cells]
    client = nbclient.NotebookClient(
        notebook, timeout=500, resources={"metadata": {"path": str(folder)}}, kernel_name="python3"
    )
    client.execute(env=os.environ | environment)
    return notebook


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_it_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = executed(ROOT / "docs", {"PLUMBLINE_WORKSPACE": str(tmp_path / "workspace")})
    text = printed(notebook)
    assert "the first champion of digits" in text
    assert "v0001 (None, 8, 8, 1) -> (None, 10)" in text
    (difference,) = (line for line in text.splitlines() if line.startswith("largest difference"))
    assert float(difference.split()[-1]) < 1e-5
    kinds = {
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    }
    assert {"image/png", "text/html"} <= kinds


def test_outside_a_clone_it_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="address of the git repository"):
        executed(tmp_path, {}, cells=2)


def test_it_is_kept_without_outputs() -> None:
    """Outputs would be stale, and carry a machine's paths."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
