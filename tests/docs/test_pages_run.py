"""The commands and Python blocks of pages run as they stand, in their order, in one folder.

What is not run is a command of another program, waits for a person, or needs what no test has. The README's
block of the installation runs in a clone without `.venv`: it needs the network that pip needs.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs import pages
from tests.support.run_cli import ROOT, Plumbline, photo
from tests.support.sample_files import put

pytestmark = [pytest.mark.stress, pytest.mark.timeout(0)]

OURS = re.compile(r"plumbline |python flows/")
NOT_RUN = re.compile(
    r"plumbline serve|plumbline review$|plumbline review +#"  # wait for requests or for a person
    r"|s3://|hf://|https?://"  # addresses
    r"|--dataset cifar10|v0003|kiosk"  # a download; versions of a longer history
    r"|--abstain 0.05"  # some 60 val images must prove the rate: 600 photos; refused with fewer
)
PAGES = ("README.md", "docs/getting-started.md", "docs/tables.md", "docs/cifar10.md")
# What a sentence before a block of Python says is there.
GIVEN = {"README.md": "import numpy as np\nimages = np.zeros((2, 8, 8, 1), np.uint8)\n"}
OTHER_OUTPUT = {"README.md"}  # of 1,250 photos; those of the test are few, and are cross-validated
TIMEOUT = 900  # seconds


def images(folder: Path) -> None:
    """The folders and files that the pages name, small."""
    for name, classes, count in (("photos", ("cat", "dog"), 24), ("flowers", ("rose", "tulip"), 24)):
        for label, class_name in enumerate(classes):
            for number in range(count):
                path = put(folder / name / class_name / f"{number:03}.png", b"")
                photo(label, number).resize((72, 72)).save(path)
    for label, class_name in enumerate(("benign", "melanoma")):
        for number in range(60):
            path = put(folder / "moles" / class_name / f"p{number // 2:02}_{number}.png", b"")
            photo(label, number).save(path)
    put(folder / "new-photos" / "a.png", b"")
    photo(0, 99).save(folder / "new-photos" / "a.png")
    photo(1, 99).save(folder / "photo.jpg")


def blocks(page: str) -> list[pages.Block]:
    """The blocks of a page; CIFAR-10's are about the digits here, which need no download."""
    found = pages.blocks(ROOT / page)
    if page != "docs/cifar10.md":
        return found
    return [pages.Block(b.language, b.title, b.text.replace("cifar10", "digits")) for b in found]


def commands(block: pages.Block) -> list[str]:
    lines = block.text.replace("\\\n", " ").splitlines() if block.language == "sh" else []
    return [line for line in lines if OURS.match(line) and not NOT_RUN.search(line)]


def run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    started = [str(ROOT / words[1])] if words[0] == "python" else ["-m", "flows"]
    rest = words[2:] if words[0] == "python" else words[1:]
    target = rest.index(">") if ">" in rest else len(rest)
    done = subprocess.run(
        [sys.executable, *started, *rest[:target]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    if target < len(rest):
        (folder / rest[target + 1]).write_text(done.stdout)
    return done.stdout


def first_words(printed: str) -> list[str]:
    """The stage or the name at the begin of each line; lines that are indented are left out."""
    return [line.split()[0] for line in printed.splitlines() if line and not line.startswith(" ")]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_blocks_of_a_page_run_in_their_order(
    page: str, plumbline: Plumbline, tmp_path: Path
) -> None:
    images(tmp_path)
    environment = plumbline.environment | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    environment = {name: value for name, value in environment.items() if name != "PLUMBLINE_WORKSPACE"}
    if page == "docs/tables.md":
        run(["plumbline", "train", "--recipe", "flash"], tmp_path, environment)
    elif page == "README.md":
        run(["plumbline", "train"], tmp_path, environment)  # `make train`
    code, ran, printed = GIVEN.get(page, ""), 0, ""
    for block in blocks(page):
        if block.language == "text" and page not in OTHER_OUTPUT:
            assert first_words(block.text) == first_words(printed)
        if block.language == "python" and not block.title:
            code += block.text
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"
        for line in commands(block):
            printed = run(shlex.split(line, comments=True), tmp_path, environment)
            ran += 1
    assert ran


def test_installation_of_the_readme_in_a_clone(own_server: dict[str, str], tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    install = blocks("README.md")[0]
    assert install.text.splitlines()[0] == "make train"
    began = time.monotonic()
    script = f"set -e\n{install.text}\ncommand -v plumbline\nplumbline --version\nplumbline models list\n"
    keep = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=clone, env=keep | own_server, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert str(clone / ".venv" / "bin" / "plumbline") in done.stdout
    assert "champion" in done.stdout.rsplit("plumbline", 1)[-1]
    size = sum(path.lstat().st_size for path in (clone / ".venv").rglob("*"))
    print(f"make train: {size / 1e6:,.0f} MB, {(time.monotonic() - began) / 60:.1f} minutes")


@pytest.fixture
def own_server(tmp_path: Path) -> dict[str, str]:
    """An environment with a PREFECT_HOME of its own, in which a command starts a temporary server."""
    return {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_API_PORT": "1", "PYTHONPATH": ""}


def test_the_notebook_is_one() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "docs" / "cifar10.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert len([cell for cell in notebook.cells if cell.cell_type == "code"]) >= 8
