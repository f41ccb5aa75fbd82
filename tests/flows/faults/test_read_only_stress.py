"""Read-only places: one message, nothing lost, and the command works once the place can be written to."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.run_cli import Plumbline, write_photos
from tests.support.warm_commands import WarmPlumbline, warm

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(0),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root"),
]
FLASH = ("--recipe", "flash", "--epochs", "1")
TRAIN = ("flows/train_flow.py", *FLASH, "--seed", "7", "--promote", "always")
MODELS = ("flows/__main__.py", "models")
DOCTOR = ("flows/__main__.py", "doctor", "--min-free-gb", "0")
CASES = {
    "workspace": ("ws", TRAIN),
    "models": ("ws/models", TRAIN),
    "versions": ("ws/models/digits", TRAIN),
    "registry log": ("ws/models/digits/log.jsonl", TRAIN),
    "aliases": ("ws/models/digits/aliases.json", TRAIN),
    "tables": ("ws/metrics", TRAIN),
    "table of runs": ("ws/metrics/runs", TRAIN),
    "reports": ("ws/reports", TRAIN),
    "training": ("ws/training", TRAIN),
    "evaluations": ("ws/evaluations", TRAIN),
    "results": ("ws/results", TRAIN),
    "tensors": ("ws/tensors", (*TRAIN, "--val-fraction", "0.2")),
    "PREFECT_HOME": ("prefect", TRAIN),
    "sweep": (
        "ws/training",
        ("flows/sweep_flow.py", *FLASH, "--vary", "batch_size=16,32", "--runner", "sequence"),
    ),
    "predictions": ("out", ("flows/predict_flow.py", "photos/across", "--out", "out/predictions")),
    "predict": ("ws", ("flows/predict_flow.py", "photos/across", "--out", "out/predictions")),
    "doctor": ("ws", DOCTOR),
    "doctor --fix": ("ws", (*DOCTOR, "--fix")),
    "compare": ("ws", ("flows/__main__.py", "compare")),
    "compare --out": ("out", ("flows/__main__.py", "compare", "--out", "out/table.csv")),
    "models promote": ("ws/models/digits", (*MODELS, "promote", "digits", "v0001")),
    "models alias": ("ws", (*MODELS, "alias", "digits", "kiosk", "v0001")),
    "models show": ("ws", (*MODELS, "show", "digits")),
    "explain": ("ws", ("flows/__main__.py", "explain")),
    "review": ("out", ("flows/__main__.py", "review", "--page", "out/page.html")),
}
# These need not write there: there is nothing to fix, the version is the champion already, and a run goes on
# without Prefect's cache in results.
READS = (
    "predict",
    "doctor",
    "compare",
    "models show",
    "explain",
    "results",
    "doctor --fix",
    "models promote",
)


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Mount a folder or a file over itself, read-only: root may not write there either."""
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def warm_plumbline(server: dict[str, str]) -> Iterator[WarmPlumbline]:
    with warm(server) as started:
        yield started


@pytest.fixture(scope="module")
def finished(warm_plumbline: WarmPlumbline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the workspace of one run, photos, and a folder for outputs."""
    folder = tmp_path_factory.mktemp("finished")
    warm_plumbline.at(folder / "ws").ok(*FLASH)
    write_photos(folder / "photos")
    for name in ("out", "prefect"):
        (folder / name).mkdir()
    return folder


@pytest.mark.parametrize("case", CASES)
def test_read_only_place_is_one_message(
    finished: Path, warm_plumbline: WarmPlumbline, tmp_path: Path, case: str
) -> None:
    folder = tmp_path / "case"
    shutil.copytree(finished, folder)
    place, command = CASES[case]
    plumbline: Plumbline = warm_plumbline.at(folder / "ws")
    if place == "prefect":  # of a process that starts its own server
        environment = plumbline.environment | {"PREFECT_HOME": str(folder / "prefect")}
        del environment["PREFECT_API_URL"]
        plumbline = Plumbline(environment | {"PREFECT_SERVER_API_PORT": "1"}, folder / "ws")
    before = published(plumbline)
    with read_only(folder / place):
        done = plumbline.run(*command)
    text = done.stdout + done.stderr
    assert "Traceback" not in text, text
    if case in READS:
        assert done.returncode == 0, text
        assert case != "results" or text.count("cannot be written (Read-only file system)") == 1, text
    else:
        assert done.returncode == 1, text
        assert done.stderr.startswith("error: "), text
        assert len(done.stderr.splitlines()) <= 6, text
    if done.returncode or "train" not in command[0]:  # a run that ends adds rows to the parts of the tables
        assert published(plumbline).items() >= before.items()
    assert plumbline.run(*DOCTOR).returncode == 0 or case in ("workspace",)
    again = plumbline.run(*command)
    assert again.returncode == 0, again.stdout + again.stderr


def published(plumbline: Plumbline) -> dict[str, bytes]:
    """The versions and the parts of the tables."""
    return {
        name: content
        for name, content in plumbline.files().items()
        if name.startswith(("models/digits/v0001/", "metrics/")) and name.endswith((".keras", ".parquet"))
    }
