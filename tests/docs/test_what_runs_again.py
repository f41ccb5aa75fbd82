"""The table in docs/architecture.md, "What makes a stage run again": an edit of a module, and the stages."""

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.core.data.readers.factory import READERS
from tasks.core.stage import code_hash
from tasks.core.stage.stages import PARTS, STAGES
from tests.docs import pages

pytestmark = pytest.mark.slow


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def insert_into(path: Path, name: str, line: str) -> None:
    """Insert a line after the last statement of a class, or before the last one of a function."""
    source = path.read_text(encoding="utf-8")
    (node,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == name]
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    last = node.body[-1]
    number = last.end_lineno if isinstance(node, ast.ClassDef) else last.lineno - 1
    lines = source.splitlines()
    lines.insert(number or 0, f"    {line}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "name", "text", "expected"),
    [
        (
            "stage/handles/results.py",
            "",
            "\n\n@dataclass(frozen=True)\nclass Sketch(Handle):\n    images: int\n",
            "",
        ),
        ("errors.py", "", "\n\nclass SketchError(PlumblineError):\n    pass\n", ""),
        ("config.py", "ExportName", 'coreml = "coreml"', ""),
        ("config.py", "PromotePolicy", 'equal = "equal"', ""),
        ("model/training/loop.py", "train", 'log.info("the last line of train")', ""),
        ("data/readers/idx.py", "", "\nUNUSED = 1\n", "normalize, idx"),
        (
            "data/decode.py",
            "",
            "\nUNUSED = 1\n",
            "normalize; embed; cross_validate; train_on_all; export; evaluation_set",
        ),
        (
            "model/training/optimizers.py",
            "",
            "\nUNUSED = 1\n",
            "select; train; cross_predict; cross_validate; train_on_all",
        ),
        (
            "metrics/calibration.py",
            "",
            "\nUNUSED = 1\n",
            "evaluate; label_issues; report; score_version; evaluation_report",
        ),
    ],
    ids=[
        *("handle", "error", "export format", "promote policy", "log line"),
        *("one reader", "decode", "optimizer", "calibration"),
    ],
)
def test_edit_makes_only_the_stages_of_the_table_run_again(
    path: str, name: str, text: str, expected: str, tmp_path: Path
) -> None:
    shutil.copytree(
        pages.ROOT / "tasks" / "core",
        tmp_path / "tasks" / "core",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    file = tmp_path / "tasks" / "core" / path
    if name:
        insert_into(file, name, text)
    else:
        append(file, text)
    parts: dict[str, Any] = {stage.name: stage for stage in (*STAGES, *PARTS)}
    parts |= {f"normalize, {reader}": file_format for reader, file_format in READERS.items()}
    before, after = (
        {each: code_hash.hashes(*part.modules, root=root) for each, part in parts.items()}
        for root in (pages.ROOT, tmp_path)
    )
    names = {each for each, hashes in after.items() if hashes != before[each]}
    if "normalize" in names:  # the code that all readers share
        names -= {name for name in names if name.startswith("normalize, ")}
    assert names == set(expected.split("; ")) - {""}
