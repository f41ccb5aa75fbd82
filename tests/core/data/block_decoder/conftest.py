"""The compiled decoder, built for the tests of a file."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.data.block_decoder import library
from tasks.core.data.block_decoder.library import Library
from tests.support.sample_files import put

ROOT = Path(__file__).resolve().parents[4]
FOLDER = "tasks/core/data/block_decoder"
SOURCES = [f"{FOLDER}/{name}.c" for name in ("decoder", "short_scan")]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built as `pip install` does it, but not into the source."""
    folder = tmp_path_factory.mktemp("build")
    for source in SOURCES:
        put(folder / source, (ROOT / source).read_bytes())
    shutil.copyfile(ROOT / "setup.py", folder / "setup.py")
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = list((folder / FOLDER).glob("_decoder*.so"))
    if not found:
        pytest.skip(f"no C compiler, or no headers of libjpeg-turbo: {(done.stderr or done.stdout)[-300:]}")
    return found[0]


@pytest.fixture(scope="session")
def decoder(built: Path) -> Library:
    found = Library(built)
    if fault := found.fault():
        pytest.skip(f"this machine's libjpeg cannot be used: {fault}")
    return found


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    library.load.cache_clear()
    yield
    library.load.cache_clear()
