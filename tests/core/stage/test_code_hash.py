"""Which edits of the code change a stage's code hash."""

from pathlib import Path

import pytest

from tasks.core.stage import code_hash

MAIN = '''"""Prose."""
import logging
from typing import TYPE_CHECKING
from tasks.core import errors, helper

if TYPE_CHECKING:
    from tasks.core import bystander
log = logging.getLogger("x")

# a comment
def double(x):
    """More prose."""
    log.info("doubling %s", x)
    if x < 0:
        raise errors.Negative("below 0")
    return helper.times(x, 2)
'''
HELPER = "def times(x, factor):\n    return x * factor\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree of four modules: `main` uses `helper` and `errors`, and not `bystander`."""
    package = tmp_path / "tasks" / "core"
    package.mkdir(parents=True)
    (package / "main.py").write_text(MAIN)
    (package / "helper.py").write_text(HELPER)
    (package / "bystander.py").write_text("x = 1\n")
    (package / "errors.py").write_text("class Negative(Exception):\n    pass\n")
    return tmp_path


def hashes(root: Path, module: str = "main") -> dict[str, str]:
    """The hash of the module and of each module that it imports, read anew from the files."""
    code_hash._read.cache_clear()
    return code_hash.hashes(f"tasks.core.{module}", root=root)


def edit(root: Path, module: str, old: str, new: str) -> None:
    path = root / "tasks" / "core" / f"{module}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("module", "old", "new", "changes_hash"),
    [
        ("main", "x, 2", "x, 3", True),
        ("main", "More prose", "Other prose", False),
        ("main", "# a comment", "# another", False),
        ("main", "x, 2", "x,   2", False),
        ("helper", "x * factor", "x + factor", True),
        ("bystander", "1", "2", False),
        ("main", "doubling %s", "twice %s", False),
        ("main", '    log.info("doubling %s", x)\n', "", False),
        ("main", "below 0", "negative", True),
        ("errors", "pass", "exit_code = 3", False),
    ],
    ids=[
        *("constant", "docstring", "comment", "formatting", "called module", "module not reached"),
        *("text of a log call", "a log call", "text of an error", "beyond the boundary"),
    ],
)
def test_code_hash_changes_only_after_an_edit_that_can_change_results(
    tree: Path, module: str, old: str, new: str, changes_hash: bool
) -> None:
    before = hashes(tree)
    edit(tree, module, old, new)
    changed = {name for name, after in hashes(tree).items() if after != before[name]}
    assert list(before) == ["helper", "main"]
    assert changed == ({module} if changes_hash else set())


def test_code_hash_of_a_function_level_import_includes_the_module(tree: Path) -> None:
    edit(tree, "bystander", "x = 1", "def late():\n    from tasks.core import main")
    assert list(hashes(tree, "bystander")) == ["bystander", "helper", "main"]
