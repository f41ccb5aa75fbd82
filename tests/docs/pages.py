"""The Markdown pages as data: their fenced blocks and headings, and the edits that how-tos describe."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "deployments/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: The first word after the fence, such as "python".
        title: The file that the block is about; empty if it names none.
        text: The lines between the fences.
    """

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*match) for match in FENCE.findall(page.read_text(encoding="utf-8"))]


def copy_code(root: Path) -> Path:
    """Copy the code and what its tests share into the new folder `root`."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("flows", "plumbline", "tasks", "tests/support"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, root / name)
    return root


def apply(page: Path, root: Path) -> set[str]:
    """Do to a copy of the code what a how-to says.

    Blocks of the language `diff` are given to `git apply`. Python blocks with a title are new files.

    Returns:
        The files of `flows/` and `tasks/` that the page touches.
    """
    touched = set()
    for block in blocks(page):
        if block.language == "diff":
            assert f"+++ b/{block.title}\n" in block.text
            command = ["git", "apply", "--whitespace=error", "-"]
            done = subprocess.run(
                command, input=block.text, cwd=root, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{page.name}, {block.title}: {done.stderr}"
        elif block.language == "python" and block.title:
            path = root / block.title
            assert not path.exists(), f"{page.name} creates {block.title}, which exists"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        else:
            continue
        touched.add(block.title)
    return {path for path in touched if not path.startswith("tests/")}
