"""Batch prediction with a small published model: its rows, against Keras' own predict, and comparisons."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.core.data.inference import prediction_table
from tasks.core.data.inference.inputs import list_inputs
from tasks.core.data.inference.prediction_table import Batch, PredictionRequest
from tasks.core.errors import UsageError
from tasks.core.evaluation import abstention
from tasks.core.metrics import drift
from tasks.core.model.inference import predict_batch, profile
from tasks.core.reports import drift_report
from tasks.core.stage import publish
from tasks.core.stage.handles import ModelVersion
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs
from tests.support.sample_files import encoded, noise, parquet, put

pytestmark = pytest.mark.slow
COUNT = 700  # images
MANY = 50_000  # images; four parts
ROOT = Path(__file__).resolve().parents[4]


def model() -> keras.Model:
    """For 8x8 colour images of seven classes, with unequal answers."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="images")
    outputs = inputs
    for layer in (
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(7, name="logits", kernel_initializer=keras.initializers.RandomNormal(stddev=3)),
        keras.layers.Softmax(),
    ):
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


@pytest.fixture
def published(workspace: Workspace) -> ModelVersion:
    """A version, without a profile."""
    fake = FakeOutputs(workspace)
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    facts["abstention"] = [{"max_error": 0.05, "threshold": 0.6}, {"max_error": 0.01, "threshold": None}]
    made_of = Ingredients("publish", {}, {})
    directory = workspace.models / "animals" / "v0001"

    def build(staging: Path) -> dict[str, object]:
        model().save(staging / "model.keras")
        return facts

    publish.publish(directory, made_of, build)
    sha256 = hashing.sha256_file(directory / "model.keras")
    return ModelVersion(workspace.relative(directory), made_of.digest, sha256, "animals", "v0001")


def pictures(folder: Path) -> tuple[Path, np.ndarray]:
    """A parquet file of `COUNT` images, one of them broken, and what is in it."""
    pixels = np.stack([noise(seed, 8, 8) for seed in range(COUNT)])
    contents = [encoded(image) for image in pixels]
    contents[300] = b"broken"
    return parquet(folder / "x.parquet", [0] * COUNT, contents=contents), pixels


def predicted(
    version: ModelVersion, out: Path, *places: Path, threshold: float | None = None
) -> Sequence[Batch]:
    asked = PredictionRequest(
        version.dataset, version.version, version.model_sha256, tuple(map(str, places)), threshold
    )
    with prediction_table.locked_folder(out):
        found = prediction_table.pending_batches(out, asked, list_inputs(asked.inputs))
        for batch in found:
            predict_batch.predict(batch, version)
    return found


def test_the_rows_are_keras_predictions(published: ModelVersion, tmp_path: Path) -> None:
    path, pixels = pictures(tmp_path)
    (batch,) = predicted(published, tmp_path / "out", path)
    rows = pq.read_table(tmp_path / "out").to_pandas()
    expected = keras.models.load_model(published.directory / "model.keras").predict(pixels, verbose=0)
    kept = np.arange(COUNT) != 300
    np.testing.assert_allclose(np.stack(rows["probabilities"][kept]), expected[kept], atol=1e-6)
    classes = np.array(published.manifest["facts"]["classes"])
    assert list(rows["predicted_class_name"][kept]) == list(classes[expected[kept].argmax(1)])
    np.testing.assert_allclose(rows["probability"][kept], expected[kept].max(1), atol=1e-6)
    assert list(rows["row"]) == list(range(COUNT))
    assert rows["predicted_class_name"].isna()[300]
    assert rows["probabilities"][300] is None
    assert rows["problem"].notna().sum() == 1
    assert batch.counts() | {"classes": {}} == {
        "images": COUNT,
        "abstained": 0,
        "unreadable": 1,
        "classes": {},
    }
    batch.finish({})
    assert predicted(published, tmp_path / "out", path) == []


def test_below_the_threshold_it_says_nothing(published: ModelVersion, tmp_path: Path) -> None:
    path, pixels = pictures(tmp_path)
    least = abstention.threshold(published, 0.05, None)
    predicted(published, tmp_path / "out", path, threshold=least)
    rows = pq.read_table(tmp_path / "out").to_pandas().drop(300)
    expected = keras.models.load_model(published.directory / "model.keras").predict(pixels, verbose=0).max(1)
    unsure = np.delete(expected, 300) < 0.6
    assert 0 < unsure.sum() < COUNT - 1
    assert list(rows["abstained"]) == list(unsure)
    assert list(rows["predicted_class_name"].isna()) == list(unsure)


def test_only_a_proven_rate_has_a_threshold(published: ModelVersion) -> None:
    assert abstention.threshold(published, None, None) is None
    assert abstention.threshold(published, None, 0.3) == 0.3
    with pytest.raises(UsageError, match=r"no threshold for an error rate of 0\.01"):
        abstention.threshold(published, 0.01, None)
    with pytest.raises(UsageError, match="two ways"):
        abstention.threshold(published, 0.05, 0.5)
    with pytest.raises(UsageError, match="must lie in"):
        abstention.threshold(published, None, 1.5)


def test_an_interrupted_batch_ends_with_the_same_bytes(published: ModelVersion, tmp_path: Path) -> None:
    path, _ = pictures(tmp_path)
    for number in range(300):
        put(tmp_path / "more" / f"{number:03}.png", encoded(noise(number, 9, 7)))
    asked = PredictionRequest("animals", "v0001", published.model_sha256, (str(path), str(tmp_path / "more")))
    with prediction_table.locked_folder(tmp_path / "out"):
        (batch,) = prediction_table.pending_batches(
            tmp_path / "out", asked, list_inputs(asked.inputs), part=100
        )
        predict_batch.predict(batch, published)
        whole = {file.name: file.read_bytes() for file in batch.directory.iterdir()}
        assert len(batch.parts) == 4
        for gone in (1, 3):
            batch.path(gone).unlink()
        predict_batch.predict(batch, published)
        assert {file.name: file.read_bytes() for file in batch.directory.iterdir()} == whole


def test_killed_and_gone_on_with_no_row_is_lost_or_doubled(
    published: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    """SIGKILL after the first part; the parts have the bytes of an undisturbed run."""
    contents = [encoded(noise(seed, 8, 8)) for seed in range(100)]
    path = parquet(tmp_path / "x.parquet", [0] * MANY, contents=contents * (MANY // 100), row_group_size=1000)
    code = (
        "import sys; from pathlib import Path; from tests.core.model.inference import test_predict_batch\n"
        "from tasks.core.stage.handles import ModelVersion\n"
        f"version = ModelVersion(**{published.as_dict()!r})\n"
        f"test_predict_batch.predicted(version, Path({str(tmp_path / 'cut')!r}), Path({str(path)!r}))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not list((tmp_path / "cut").glob("batch=*/part-*")) and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert 1 <= len(list((tmp_path / "cut").glob("batch=*/part-*"))) < 4
    for out in ("cut", "whole"):
        predicted(published, tmp_path / out, path)
    assert sorted(pq.read_table(tmp_path / "cut")["row"].to_pylist()) == list(range(MANY))
    files = [sorted((tmp_path / out).glob("batch=*/part-*")) for out in ("cut", "whole")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_a_batch_is_compared_with_the_profile(
    published: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    made = profile.profile(published, FakeOutputs(workspace, images=2000).tensors(), workspace)
    assert (made.split, made.images) == ("val", 400)
    made.directory.rename(published.directory / profile.FOLDER)
    for name, change in (("same", lambda image: image), ("dark", lambda image: image // 2)):
        contents = [encoded(change(noise(seed, 8, 8))) for seed in range(COUNT)]
        path = parquet(tmp_path / f"{name}.parquet", [0] * COUNT, contents=contents)
        (batch,) = predicted(published, tmp_path / name, path)
        found = drift_report.write_drift_report(batch, published)
        written = json.loads((batch.directory / drift_report.FIGURES).read_bytes())
        assert written == found.record()
        assert found.images == COUNT
        page = (batch.directory / drift_report.PAGE).read_text()
        if name == "same":
            assert not found.drifted, str(found)
            assert "The images are like those" in page
        else:
            assert "brightness" in {shift.feature for shift in found.drifted}
            assert "numbers differ from the images" in page
        assert (batch.directory / drift_report.PICTURE).read_bytes()[:4] == b"\x89PNG"
        assert "brightness" in drift_report.summary(batch, found)


def test_a_version_without_a_profile_says_so(published: ModelVersion, tmp_path: Path) -> None:
    path, _ = pictures(tmp_path)
    (batch,) = predicted(published, tmp_path / "out", path)
    found = drift_report.write_drift_report(batch, published)
    assert isinstance(found, drift.Drift)
    assert str(found) == "not compared: v0001 was published without a profile of its images"
    assert not list(batch.directory.glob("_sample*"))
