"""Folders of photos: pretrained features, the comparison of recipes, models of different image sizes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.run_cli import Plumbline
from tests.support.scenery import write_scenery
from tests.support.warm_commands import WarmPlumbline

pytestmark = pytest.mark.slow
SMALL = ("--image-size", "64")  # the backbone takes a twelfth of its usual time
ALONE = """
import json, sys, zipfile
import keras, numpy as np
from PIL import Image
model = keras.models.load_model(sys.argv[1])
names = json.loads(zipfile.ZipFile(sys.argv[1]).read("metadata.json"))["plumbline"]["classes"]
side = model.input_shape[1]
images = [Image.open(path) for path in sys.argv[2:]]
pixels = np.stack([np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)) for image in images])
assert "tasks" not in sys.modules
print(json.dumps([names, model.predict(pixels, verbose=0).tolist()]))
"""


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks."""
    return warm_plumbline


@pytest.fixture(scope="module")
def probed(
    warm_commands: WarmPlumbline, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WarmPlumbline, Path]:
    """A workspace with a finished run of `probe`, and its folder; tests must change neither."""
    root = tmp_path_factory.mktemp("photos")
    folder = write_scenery(root / "scenery")
    plumbline = warm_commands.at(root / "workspace")
    plumbline.ok("--dataset", folder, "--recipe", "probe", *SMALL)
    return plumbline, folder


def test_probe_publishes_a_model_that_keras_opens_alone(probed: tuple[WarmPlumbline, Path]) -> None:
    """The photos have the model's proportions and are no JPEG that would be scaled by DCT."""
    plumbline, folder = probed
    run = plumbline.runs().iloc[-1]
    assert run["test_accuracy"] > 0.6  # guessing gives a third
    version = plumbline.workspace / "models" / "scenery" / "v0001"
    table = pd.read_parquet(plumbline.workspace / "metrics" / "predictions")
    test = table[table["split"] == "test"].head(5)
    paths = [str(folder / path) for path in test["path"]]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(version / "model.keras"), *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    names, probabilities = json.loads(done.stdout.splitlines()[-1])
    assert names == ["green", "red", "striped"]
    # Pillow decodes JPEGs a grey level away from simplejpeg here and there.
    assert np.abs(np.array(probabilities) - np.stack(test["probabilities"])).max() < 0.05
    assert "Apache License" in (version / "LICENSE-backbone.txt").read_text()
    assert "579344248a93" in (version / "NOTICE.txt").read_text()
    assert "efficientnet-lite0" in json.dumps(json.loads((version / "manifest.json").read_text())["facts"])


def test_probe_ranks_labels_of_train_images_too(probed: tuple[WarmPlumbline, Path]) -> None:
    plumbline, _ = probed
    assert plumbline.stages()["cross_predict"] == "ran"
    (directory,) = (plumbline.workspace / "label_issues").glob("[0-9a-f]*")
    assert "train" in json.loads((directory / "manifest.json").read_text())["facts"]["counts"]


def test_few_photos_are_cross_validated_and_give_a_model_of_all(probed: tuple[WarmPlumbline, Path]) -> None:
    """60 photos, of which some 12 are test images: a probe has 5 folds without being asked."""
    plumbline, _ = probed
    run = plumbline.runs().iloc[-1]
    assert run["cross_validated_images"] == 60
    assert run["cross_validated_low"] < run["cross_validated_accuracy"] < run["cross_validated_high"] <= 1
    version = plumbline.workspace / "models" / "scenery" / "v0001"
    facts = json.loads((version / "manifest.json").read_text())["facts"]
    assert facts["all_images"]["trained_on"] == "all"
    assert facts["all_images"]["images"] == facts["cross_validated"]["images"] == 60
    sha256 = hashlib.sha256((version / "all_images" / "model.keras").read_bytes()).hexdigest()
    assert facts["all_images"]["model_sha256"] == sha256 != facts["model_sha256"]
    assert "those of the test set too" in (version / "model_card.md").read_text()
    table = pd.read_parquet(plumbline.workspace / "metrics" / "leaderboard")
    assert table[["recipe", "scored", "images"]].to_numpy().tolist() == [["probe", True, 60]]
    report = (plumbline.workspace / str(run["report"])).read_text()
    assert "Cross-validated" in report
    assert "more likely missed than found" in report or "no difference between two models" in report


def test_predict_uses_the_model_of_all_photos_if_it_is_asked_to(
    probed: tuple[WarmPlumbline, Path], tmp_path: Path
) -> None:
    plumbline, folder = probed
    photo = next(folder.rglob("*.jpg"), None) or next(folder.rglob("*.png"))
    arguments = (photo, "--out", tmp_path / "rows", "--workspace", plumbline.workspace, "--all-images")
    done = plumbline.run("flows/predict_flow.py", *arguments)
    assert "it has no test score. Its recipe scores" in done.stdout, done.stdout + done.stderr
    (row,) = pd.read_parquet(tmp_path / "rows").to_dict("records")
    assert row["model"] == "v0001-all-images"
    refused = plumbline.run("flows/predict_flow.py", *arguments, "--abstain", "0.05")
    assert "--abstain does not go with --all-images" in refused.stderr


def test_auto_compares_recipes_and_the_gate_compares_sizes(plumbline: Plumbline, tmp_path: Path) -> None:
    """The champion takes images of 32 pixels; the challenger's recipe is chosen, and it takes others."""
    folder = write_scenery(tmp_path / "scenery", per_class=12)
    plumbline.ok("--dataset", folder, "--recipe", "fast", "--image-size", "32", "--epochs", "2")
    output = plumbline.ok("--dataset", folder, *SMALL, "--epochs", "1", "--budget", "60")
    candidates = pd.read_parquet(plumbline.workspace / "metrics" / "candidates")
    assert candidates["recipe"].tolist() == ["probe", "finetune", "fast"]
    assert candidates["state"].unique().tolist() == ["compared"]
    chosen = candidates[candidates["chosen"]].iloc[0]
    better = (candidates["accuracy"] > chosen["accuracy"]) & (candidates["log_loss"] < chosen["log_loss"])
    assert not better.any()
    assert plumbline.runs().iloc[-1]["recipe"] == chosen["recipe"]
    assert plumbline.stages()["evaluate champion"] == "ran"
    assert "not compared with champion" not in output
    report = Path(str(plumbline.runs().iloc[-1]["report"]))
    assert "compared on the same" in (plumbline.workspace / report).read_text()


@pytest.mark.stress
def test_budget_leaves_out_what_is_too_slow(probed: tuple[WarmPlumbline, Path], tmp_path: Path) -> None:
    plumbline, folder = probed
    limited = plumbline.at(tmp_path / "workspace")
    output = limited.ok("--dataset", folder, *SMALL, "--budget", "0.001")
    assert "not compared: it needs about" in output
    assert limited.runs().iloc[-1]["recipe"] == "probe"


@pytest.mark.stress
def test_small_pictures_are_trained_from_scratch(plumbline: Plumbline, tmp_path: Path) -> None:
    folder = write_scenery(tmp_path / "scenery", per_class=12, side=40)
    plumbline.ok("--dataset", folder, "--epochs", "1")
    assert plumbline.runs().iloc[-1]["recipe"] == "fast"
    assert "embed" not in plumbline.stages()


def test_unknown_backbone_and_small_images_are_refused(plumbline: Plumbline, tmp_path: Path) -> None:
    folder = write_scenery(tmp_path / "scenery", per_class=2)
    unknown = plumbline.train("--dataset", folder, "--recipe", "probe", "--backbone", "resnet-5000")
    assert unknown.returncode == 2
    assert "efficientnet-lite0" in unknown.stdout + unknown.stderr
    small = plumbline.train("--dataset", folder, "--recipe", "probe", "--image-size", "16")
    assert small.returncode == 2
    assert "64 pixels and more" in small.stdout + small.stderr
