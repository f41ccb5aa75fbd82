"""Tests marked stress, and programs in the text of a test, name only what our modules have.

The former run seldom. The latter may set a constant, such as a limit, which has no effect after a rename.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("flows", "plumbline", "tasks")
# What the other files name is seen when they run.
SELDOM = re.compile(r'mark\.stress|"(?:""\n)?(?:from|import) ')
# They have programs with modules of a project that they make up.
MADE_UP = ("test_names_in_tests.py", "test_structure.py", "core/stage/test_code_hash.py")
INVENTED = {ROOT / "tests" / name for name in MADE_UP}


@cache
def names_of(module: str) -> frozenset[str] | None:
    """What a module of ours has, by its text; None if there is no such module."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        return None
    names = {entry.stem for entry in path.iterdir()} if path.is_dir() else set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                names.add(part.id)
            elif isinstance(part, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name.partition(".")[0] for alias in part.names}
    return frozenset(names)


def programs(text: str) -> Iterator[ast.Module]:
    """A file, and each text in it that is a program which imports something of ours."""
    file = ast.parse(text)
    yield file
    for node in ast.walk(file):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and any(f"from {name}" in node.value for name in OURS):
            try:
                yield ast.parse(node.value)
            except SyntaxError:  # a part of a program, or prose
                continue


def missing(program: ast.Module) -> Iterator[str]:
    """Names that a program takes from our modules, and that are not there."""
    modules: dict[str, str] = {}
    for node in ast.walk(program):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
            names = names_of(str(node.module))
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if names is None or alias.name not in names:
                    yield name
                elif names_of(name) is not None:
                    modules[alias.asname or alias.name] = name
    for node in ast.walk(program):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module and node.attr not in (names_of(module) or ()):
                yield f"{module}.{node.attr}"


def test_names_in_tests_are_there() -> None:
    files = sorted({*(ROOT / "tests").rglob("*.py")} - INVENTED)
    texts = {str(path): text for path in files if SELDOM.search(text := path.read_text(encoding="utf-8"))}
    assert len(texts) > 30
    wrong = {name: [*chain(*map(missing, programs(text)))] for name, text in texts.items()}
    assert {name: names for name, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "from tasks.core.registry import promotion\npromotion.promote()",
            "tasks.core.registry.promotion.promote",
        ),
        ("from tasks.core.no import x", "tasks.core.no.x"),
        ("from tasks.core.errors import NoError", "tasks.core.errors.NoError"),
        ("RUN = '''from tasks.core import errors\\nerrors.NoError'''", "tasks.core.errors.NoError"),
        ("from tasks.core import errors\nerrors.DataError", None),
    ],
)
def test_names_that_are_not_there_are_found(text: str, found: str | None) -> None:
    assert [name for program in programs(text) for name in missing(program)] == ([found] if found else [])
