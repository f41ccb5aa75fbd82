"""`flows/train_flow.py` as a user runs it: real processes and a real Prefect server."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.support import sample_files
from tests.support.run_cli import ROOT, Plumbline

pytestmark = pytest.mark.slow


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks."""
    return warm_plumbline


QUICK = ("--recipe", "fast", "--epochs", "2")


def test_train_on_a_folder_reruns_stages_after_changed_pixels_not_mtimes(
    plumbline: Plumbline, photos: Path
) -> None:
    train = ("--dataset", photos, *QUICK)
    plumbline.ok(*train)
    assert set(plumbline.stages().values()) == {"ran"}

    path = photos / "across" / "007.png"
    os.utime(path)
    plumbline.ok(*train)
    assert plumbline.stages()["normalize"] == "skipped"
    assert plumbline.stages()["train"] == "skipped"

    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    assert "since 1 file edited" in plumbline.ok(*train)
    assert {plumbline.stages()[name] for name in ("normalize", "audit", "train", "evaluate", "report")} == {
        "ran"
    }

    plumbline.ok(*train, "--refresh", "normalize")
    assert plumbline.stages()["normalize"] == "ran"
    assert plumbline.stages()["train"] == "cached"

    elsewhere = plumbline.with_code_copy()
    with (elsewhere.root / "tasks" / "core" / "reports" / "content.py").open("a") as code:
        code.write("\n\nADDED = 1\n")
    elsewhere.ok(*train)
    ran = {name for name, state in plumbline.stages().items() if state == "ran"}
    assert ran == {"promote", "report"}  # promote always decides


def test_train_after_a_killed_run_marks_it_as_crashed_and_resumes(plumbline: Plumbline) -> None:
    long = ("--epochs", "12")  # 10 epochs are left when the run is killed
    first = plumbline.start_training(*long)
    assert first.stdout is not None
    epochs = (line for line in first.stdout if "epoch" in line)
    for _ in range(2):  # the first epoch's checkpoint exists when the second epoch's line is printed
        next(epochs)
    first.kill()
    first.wait()
    output = plumbline.ok(*long)
    assert "is marked as crashed" in output
    assert "resumed at epoch" in output
    assert plumbline.flow_run_states()[:2] == ["Completed", "Crashed"]


OVERFIT = ("--recipe", "flash", "--overfit-batch")


@pytest.mark.stress
def test_overfit_batch_passes(plumbline: Plumbline, photos: Path) -> None:
    assert "pass: 100.00 % of 64 images right after 300 steps" in plumbline.ok("--dataset", photos, *OVERFIT)


def test_overfit_batch_fails_and_publishes_nothing(plumbline: Plumbline, photos: Path) -> None:
    failed = plumbline.train("--dataset", photos, *OVERFIT, "--learning-rate", "1000")
    assert failed.returncode == 1
    assert "did not overfit one batch" in failed.stderr
    assert "nothing was published" in failed.stderr
    assert plumbline.flow_run_states()[:1] == ["Failed"]
    folders = {name.split("/")[0] for name in plumbline.files()}
    assert folders <= {"raw", "tensors", "results"}


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--dataset", "cifar11"], 2, ["cifar11", "cifar10"]),
        (["--recipe", "magic"], 2, ["magic", "fast"]),
        (["--epochs", "0"], 2, ["epochs", "above 0"]),
        (["--dry-run", "--overfit-batch"], 2, ["exclude each other"]),
        (["--recipe", "probe", "--overfit-batch"], 2, ["recipes from scratch", "leave out --overfit-batch"]),
        (["--image-size", "4"], 2, ["image_size", "8..512"]),
        (["--dataset", "./nowhere"], 2, ["nowhere"]),
        (["--archive", "absent.tar.gz", "--dataset", "cifar10"], 1, ["absent.tar.gz"]),
    ],
    ids=["dataset", "recipe", "epochs", "modes", "overfit", "size", "folder", "archive"],
)
def test_train_with_bad_usage_prints_one_error(
    plumbline: Plumbline, arguments: list[str], code: int, expected: list[str]
) -> None:
    done = plumbline.train(*arguments)
    assert done.returncode in (code, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for word in expected:
        assert word in done.stderr
    assert plumbline.files() == {}


def test_train_says_which_options_the_recipe_makes_no_use_of(plumbline: Plumbline) -> None:
    of_flash = plumbline.ok("--recipe", "flash", "--backbone", "convnext-tiny", "--budget", "2", "--dry-run")
    assert "--recipe flash makes no use of --backbone, --budget" in of_flash
    assert "makes no use" not in plumbline.ok("--recipe", "flash", "--epochs", "2", "--dry-run")
    proofs = ("--recipe", "flash", "--no-loss-of", "3", "--prove-no-loss", "--dry-run")
    always = plumbline.ok(*proofs, "--promote", "always")
    assert "--promote always decides without the proof of --no-loss-of, --prove-no-loss" in always
    assert "without the proof" not in plumbline.ok(*proofs)


def test_train_reports_leaks_and_drops_them_with_drop_leaks(plumbline: Plumbline, photos: Path) -> None:
    """Two test images have a copy in train. The folder has a folder per split, with the classes in each."""
    for kind in ("across", "down"):
        for split, numbers in (("train", range(40)), ("val", range(40, 50)), ("test", range(50, 60))):
            (photos / split / kind).mkdir(parents=True)
            for number in numbers:
                shutil.move(photos / kind / f"{number:03}.png", photos / split / kind)
        shutil.copy(photos / "test" / kind / "055.png", photos / "train" / kind / "copy.png")
        (photos / kind).rmdir()

    output = plumbline.ok("--dataset", photos, *QUICK, "--drop-leaks")
    assert "2 of 20 test images have a duplicate in train" in output
    assert "  2 leaking images left out of train" in output
    (report,) = plumbline.workspace.rglob("report.html")
    assert "without those that leak" in report.read_text()


def test_train_after_a_class_was_renamed_compares_on_the_others_and_ends(
    plumbline: Plumbline, photos: Path
) -> None:
    """The champion still predicts the old name, which none of the new classes has."""
    for number in range(60):
        grey = np.full((16, 16, 3), 40 + number, np.uint8)
        (photos / "plain").mkdir(exist_ok=True)
        Image.fromarray(grey).save(photos / "plain" / f"{number:03}.png")
    train = ("--dataset", photos, *QUICK)
    plumbline.ok(*train)
    (photos / "plain").rename(photos / "even")
    assert "the challenger no longer knows plain" in plumbline.ok(*train)
    report = plumbline.workspace / plumbline.runs()["report"].iloc[-1]
    review = report.with_name("review.html")
    assert '"an earlier champion", "plain"' in review.read_text(encoding="utf-8")
    costs = plumbline.ok(*train, "--positive", "even", "--cost", "fn=10,fp=1")
    assert "the challenger no longer knows plain" in costs


def test_train_quarantines_broken_files_up_to_the_limit(plumbline: Plumbline, photos: Path) -> None:
    content = (photos / "across" / "000.png").read_bytes()
    (photos / "across" / "broken.jpg").write_bytes(content[: len(content) // 2])
    (photos / "down" / "text.png").write_text("not an image")
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}

    refused = plumbline.train("--dataset", photos, *QUICK)
    assert refused.returncode == 1
    assert "max-quarantine" in refused.stderr
    assert not any(name.startswith(("tensors/", "models/", "metrics/")) for name in plumbline.files())

    plumbline.ok("--dataset", photos, *QUICK, "--max-quarantine", "0.05")
    (tensors,) = (plumbline.workspace / "tensors").glob("[!.]*")
    quarantine = pd.read_parquet(tensors / "quarantine.parquet")
    assert sorted(Path(path).name for path in quarantine["path"]) == ["broken.jpg", "text.png"]
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before


def test_script_started_in_another_folder_imports_its_own_packages(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("raise ImportError('the wrong tasks')")
    done = subprocess.run(
        [sys.executable, str(ROOT / "flows" / "train_flow.py"), "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--val-fraction" in done.stdout
    assert "Share of the training images" in done.stdout


@pytest.mark.stress  # tests/core/model/export has the parts
def test_exports_of_any_size_are_certified_and_part_of_the_version(plumbline: Plumbline) -> None:
    any_size = (*QUICK, "--export-input", "any-size")
    plumbline.ok(*any_size, "--exports", "litert", "--exports", "onnx")
    version = plumbline.workspace / "models" / "digits" / "v0001"
    assert {"model.onnx", "model.tflite"} <= {path.name for path in (version / "exports").iterdir()}
    assert plumbline.stages()["export"] == "ran"
    entries = json.loads((version / "exports" / "certificate.json").read_text())
    assert [entry["passed"] for entry in entries] == [True, True]
    assert [entry["scaling"]["agreement"] for entry in entries] == [1, 1]
    (report,) = (plumbline.workspace / "reports").glob("*/report.html")
    assert "test images at their own size" in report.read_text()
    plumbline.ok(*any_size, "--exports", "onnx", "--exports", "litert")
    assert plumbline.stages()["export"] == "cached"


def test_unchanged_run_repeats_that_the_model_is_no_better_than_none(
    plumbline: Plumbline, tmp_path: Path
) -> None:
    """The pictures say nothing of their classes."""
    folder = sample_files.photos(tmp_path / "chance", {"heads": 60, "tails": 60})
    train = ("--dataset", folder, "--recipe", "flash", "--epochs", "1")
    plumbline.ok(*train)
    remark = str(plumbline.runs()["verdict"].iloc[-1]).partition("; ")[2]
    assert remark
    output = plumbline.ok(*train)
    assert f"champion v0001 stays; {remark}; data, parameters and code unchanged since" in output
