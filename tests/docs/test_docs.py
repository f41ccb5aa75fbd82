"""The pages say what the code does: names, files, links, stages."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tasks.core.stage.stages import STAGES
from tests.docs import pages
from tests.docs.pages import each_page, text_of

ROOT = pages.ROOT
FOLDERS = "benchmarks|deployments|docs|flows|tasks|tests"


def created_by(page: Path) -> set[str]:
    """The files that a how-to creates."""
    return {block.title for block in pages.blocks(page)} - {""}


# Names and files


@cache
def names_in(path: Path) -> set[str]:
    """Names that a file defines: of Python its classes, functions, constants and fields; keys; targets."""
    if path.suffix == ".toml":
        return set(re.findall(r"[\w-]+", path.read_text(encoding="utf-8")))
    if path.suffix != ".py":
        return set(re.findall(r"^(\w[\w-]*)\s*[:=]", path.read_text(encoding="utf-8"), re.MULTILINE))
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@each_page
def test_names_are_defined_where_the_page_says(page: Path) -> None:
    located = re.findall(r"`(\w+)`\s+in\s+`((?:\w+/)*[\w-]+\.(?:py|toml)|Makefile)`", text_of(page))
    absent = [
        (name, path)
        for name, path in located
        if not (ROOT / path).is_file() or name not in names_in(ROOT / path)
    ]
    assert absent == []


def test_names_in_the_diagrams_of_the_architecture_are_defined() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    located = re.findall(r"(core/[\w/]+\.py): ([A-Z]\w+)", text)
    assert located
    assert [name for path, name in located if name not in names_in(ROOT / "tasks" / path)] == []


@each_page
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    text = text_of(page)
    files = set(re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text)) - created_by(page)
    modules = set(re.findall(r"`(tasks\.core(?:\.[a-z_]+)+)", text))
    absent = [path for path in files if not (ROOT / path).exists()]
    for module in modules:
        path = ROOT.joinpath(*module.split("."))
        if not path.is_dir() and not path.with_suffix(".py").exists():
            absent.append(module)
    assert absent == []


@each_page
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(r"(?:^|`|    )make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named <= targets


# Blocks and tables


@each_page
def test_blocks_end_and_rows_stand_in_tables(page: Path) -> None:
    """What a reformatted page loses first; a renderer shows it as one long text, without a word."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) % 2 == 0
    tables = re.findall(r"(?:^\|.*\n)+", text_of(page), re.MULTILINE)
    assert [table for table in tables if not re.match(r"\|.*\n\|[-| :]+\|\n", table)] == []
    for block in pages.blocks(page):
        if block.language == "python":
            ast.parse(block.text)


# Links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, of those that GitHub and the site spell alike.

    GitHub makes two hyphens of "90 % for", the site one.
    """
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles)
    slugs = {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain}
    return {slug for slug in slugs if "--" not in slug}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def nav(entry: Any) -> Iterator[str]:
    """The pages of a navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for child in entry.values() if isinstance(entry, dict) else entry:
            yield from nav(child)


def test_site_has_every_page() -> None:
    yaml = pytest.importorskip("yaml")
    listed = list(nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(listed) == len(set(listed))
    assert set(listed) == there


# Stages


@each_page
def test_tables_of_stages_have_all_stages(page: Path) -> None:
    lines = text_of(page).splitlines()
    for number, line in enumerate(lines):
        if not re.match(r"\| stage \| (reads|what it does|runs again when)", line):
            continue
        names = []
        for row in lines[number + 2 :]:
            if not row.startswith("|"):
                break
            names.append(re.sub(r"[ (].*", "", row.removeprefix("| ").replace("`", "")))
        assert names == [stage.name for stage in STAGES]


def test_architecture_has_the_folder_and_handle_of_each_stage() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for stage in STAGES:
        (row,) = re.findall(rf"^\| {stage.name}\b.*$", text.partition("| stage | reads")[2], re.MULTILINE)[:1]
        assert f"`{stage.handle.__name__}`" in row
        assert f"`{stage.folder}/`" in row or not stage.folder


def test_first_page_has_all_stages() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    (chain,) = re.findall(r"^`(\w+ -> .*)`$", text, re.MULTILINE)
    assert chain.split(" -> ") == [stage.name for stage in STAGES if not stage.option]
    for stage in STAGES:
        assert not stage.option or re.search(rf"`{stage.name}` with\s`{stage.option}`", text)


def test_description_of_the_pipeline_has_all_stages() -> None:
    from flows import pipeline

    described = re.search(r"training run: (.*?)\.", pipeline.__doc__ or "", re.DOTALL)
    assert described is not None
    assert re.split(r",\s+", described[1]) == [stage.name for stage in STAGES]


# README


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180
