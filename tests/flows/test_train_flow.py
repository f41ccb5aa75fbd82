"""The main job as a person runs it, with real processes against a real Prefect server."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score

from tests.support.run_cli import ROOT, Plumbline

pytestmark = pytest.mark.slow
QUICK = ("--recipe", "fast", "--epochs", "2")


def test_digits_twice(plumbline: Plumbline) -> None:
    first = plumbline.ok()
    latest = plumbline.runs().iloc[-1]
    assert latest["test_accuracy"] > 0.9
    assert latest["version"] == "v0001"
    assert latest["champion"] == "v0001"
    assert "v0001" in first
    assert "report.html" in first
    assert set(plumbline.stages().values()) == {"ran"}

    check_that_a_dry_run_foresees(plumbline)
    stood = without_tensorflow(plumbline)
    assert "v0001 stands; data, parameters and code unchanged" in stood
    assert plumbline.stages() == {"download": "unchanged"} | dict.fromkeys(
        ("normalize", "audit", "train", "evaluate", "label_issues", "profile", "promote", "report"), "skipped"
    )

    without_tensorflow(plumbline, "--refresh", "report")
    assert plumbline.stages() == {
        "download": "unchanged",
        "normalize": "cached",
        "audit": "cached",
        "train": "cached",
        "evaluate": "cached",
        "label_issues": "cached",
        "profile": "cached",
        "promote": "ran",
        "report": "ran",
    }
    assert len(plumbline.runs()) == 3
    assert list((plumbline.workspace / "models" / "digits").glob("v*")) == [
        plumbline.workspace / "models" / "digits" / "v0001"
    ]

    table = pd.read_parquet(plumbline.workspace / "metrics" / "predictions")
    test = table[table["split"] == "test"]
    assert accuracy_score(test["label"], test["predicted_label"]) == pytest.approx(latest["test_accuracy"])
    check_that_keras_alone_gives_the_table(plumbline, test, latest)


def check_that_a_dry_run_foresees(plumbline: Plumbline) -> None:
    """With nothing changed each stage would be reused; with another learning rate, train would run."""
    before = plumbline.files()
    same = would(plumbline.ok("--dry-run"))
    assert same["normalize"] == same["train"] == same["evaluate"] == "reuse"
    other = plumbline.ok("--dry-run", "--learning-rate", "0.1")
    assert re.search(r"learning_rate [\d.]+ -> 0.1", other)
    assert (would(other)["normalize"], would(other)["train"], would(other)["report"]) == (
        "reuse",
        "run",
        "follows",
    )
    assert plumbline.files() == before


def would(said: str) -> dict[str, str]:
    """Stage and what it would do, from a printed forecast."""
    return {line.split()[0]: line.split()[1] for line in said.splitlines()[1:]}


def without_tensorflow(plumbline: Plumbline, *arguments: object) -> str:
    """Run, and hold that nothing of TensorFlow was imported; gives what was printed."""
    done = plumbline.train(*arguments, python=("-X", "importtime"))
    assert done.returncode == 0, done.stdout
    assert "| prefect" in done.stderr.replace("|   ", "| ")  # the check can see imports at all
    assert "tensorflow" not in done.stderr
    return done.stdout


def check_that_keras_alone_gives_the_table(
    plumbline: Plumbline, test: pd.DataFrame, latest: pd.Series
) -> None:
    """The published model, loaded without any code of ours, predicts what the predictions table says."""
    model = plumbline.workspace / "models" / "digits" / "v0001" / "model.keras"
    (tensors,) = (plumbline.workspace / "tensors").glob("[!.]*")
    out = plumbline.workspace.parent / "keras.npy"
    code = (
        "import sys, numpy, keras\n"
        f"images = numpy.load({str(tensors / 'test.images.npy')!r})\n"
        f"model = keras.models.load_model({str(model)!r})\n"
        f"numpy.save({str(out)!r}, model.predict(images, verbose=0))\n"
        "assert not any(name.split('.')[0] in ('tasks', 'flows') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=plumbline.workspace.parent, check=True)
    stored = np.stack(test.sort_values("row")["probabilities"].to_list())
    np.testing.assert_allclose(np.load(out), stored, atol=1e-5)


def test_a_folder_sees_pixels_not_times(plumbline: Plumbline, photos: Path) -> None:
    plumbline = plumbline.copied()
    train = ("--dataset", photos, *QUICK)
    plumbline.ok(*train)
    assert set(plumbline.stages().values()) == {"ran"}

    picture = photos / "across" / "007.png"
    os.utime(picture)
    plumbline.ok(*train)
    assert plumbline.stages()["normalize"] == "skipped"
    assert plumbline.stages()["train"] == "skipped"

    with Image.open(picture) as image:
        pixels = np.array(image)
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(picture)
    assert "since 1 file edited" in plumbline.ok(*train)
    assert {plumbline.stages()[name] for name in ("normalize", "audit", "train", "evaluate", "report")} == {
        "ran"
    }

    for tensors in (plumbline.workspace / "tensors").glob("[!.]*"):
        shutil.rmtree(tensors)
    plumbline.ok(*train)
    assert plumbline.stages()["normalize"] == "ran"
    assert plumbline.stages()["train"] == "cached"

    with (plumbline.root / "tasks" / "core" / "reports" / "content.py").open("a") as code:
        code.write("\n\nADDED = 1\n")
    plumbline.ok(*train)
    ran = {name for name, state in plumbline.stages().items() if state == "ran"}
    assert ran == {"promote", "report"}  # promote always decides


def test_a_killed_run_is_marked_and_gone_on_from(plumbline: Plumbline) -> None:
    long = ("--epochs", "60")
    first = plumbline.started(*long)
    assert first.stdout is not None
    epochs = (line for line in first.stdout if "epoch" in line)
    for _ in range(2):  # by the second line, the first epoch's checkpoint is there
        next(epochs)
    first.kill()
    first.wait()
    said = plumbline.ok(*long)
    assert "is marked as crashed" in said
    assert "resumed at epoch" in said
    assert plumbline.flow_run_states()[:2] == ["Completed", "Crashed"]


def test_refresh_runs_a_stage_again(plumbline: Plumbline, photos: Path) -> None:
    train = ("--dataset", photos, *QUICK)
    plumbline.ok(*train)
    plumbline.ok(*train, "--refresh", "normalize")
    assert plumbline.stages()["normalize"] == "ran"
    assert plumbline.stages()["train"] == "cached"
    plumbline.ok(*train, "--refresh", "all")
    assert set(plumbline.stages().values()) == {"ran"}
    assert sorted(path.name for path in (plumbline.workspace / "models" / "photos").glob("v*")) == ["v0001"]


def test_overfitting_a_batch_ends_with_pass_or_fail_and_publishes_nothing(
    plumbline: Plumbline, photos: Path
) -> None:
    check = ("--dataset", photos, "--recipe", "flash", "--overfit-batch")
    assert "pass: 100% of 64 images right after 300 steps" in plumbline.ok(*check)
    failed = plumbline.train(*check, "--learning-rate", "1000")
    assert failed.returncode == 1
    assert "did not learn one batch by heart" in failed.stderr
    assert "nothing was published" in failed.stderr
    assert plumbline.flow_run_states()[:2] == ["Failed", "Completed"]
    made = {name.split("/")[0] for name in plumbline.files()}
    assert made <= {"raw", "tensors", "results"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--dataset", "cifar11"], 2, ["cifar11", "cifar10"]),
        (["--recipe", "magic"], 2, ["magic", "fast"]),
        (["--epochs", "0"], 2, ["epochs", "above 0"]),
        (["--dry-run", "--overfit-batch"], 2, ["exclude each other"]),
        (["--image-size", "4"], 2, ["image_size", "8..224"]),
        (["--dataset", "./nowhere"], 2, ["nowhere"]),
        (["--archive", "absent.tar.gz", "--dataset", "cifar10"], 1, ["absent.tar.gz"]),
    ],
    ids=["dataset", "recipe", "epochs", "modes", "size", "folder", "archive"],
)
def test_bad_usage_is_one_clear_error(
    plumbline: Plumbline, arguments: list[str], code: int, words: list[str]
) -> None:
    done = plumbline.train(*arguments)
    assert done.returncode in (code, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert plumbline.files() == {}


def test_leaks_are_found_and_dropped_if_asked_to(plumbline: Plumbline, photos: Path) -> None:
    """Two test images lie in train as well; the classes of the folder are those of its splits."""
    for kind in ("across", "down"):
        for split, numbers in (("train", range(40)), ("val", range(40, 50)), ("test", range(50, 60))):
            (photos / split / kind).mkdir(parents=True)
            for number in numbers:
                shutil.move(photos / kind / f"{number:03}.png", photos / split / kind)
        shutil.copy(photos / "test" / kind / "055.png", photos / "train" / kind / "copy.png")
        (photos / kind).rmdir()

    kept = plumbline.ok("--dataset", photos, *QUICK)
    assert "2 of 20 test images have a duplicate in train" in kept
    assert "left out of train" not in kept
    assert "  2 leaking images left out of train" in plumbline.ok("--dataset", photos, *QUICK, "--drop-leaks")
    assert [plumbline.stages()[name] for name in ("audit", "train")] == ["cached", "ran"]
    latest = max(plumbline.workspace.rglob("report.html"), key=lambda path: path.stat().st_mtime)
    assert "without those that leak" in latest.read_text()


def test_broken_files_are_set_aside(plumbline: Plumbline, photos: Path) -> None:
    whole = (photos / "across" / "000.png").read_bytes()
    (photos / "across" / "broken.jpg").write_bytes(whole[: len(whole) // 2])
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


def test_the_script_finds_its_own_packages_from_anywhere(tmp_path: Path) -> None:
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


def test_exports_go_out_with_the_version(plumbline: Plumbline) -> None:
    plumbline.ok(*QUICK, "--exports", "litert", "--exports", "onnx")
    version = plumbline.workspace / "models" / "digits" / "v0001"
    assert {"model.onnx", "model.tflite"} <= {path.name for path in (version / "exports").iterdir()}
    assert plumbline.stages()["export"] == "ran"
    plumbline.ok(*QUICK, "--exports", "onnx", "--exports", "litert")
    assert plumbline.stages()["export"] == "cached"
