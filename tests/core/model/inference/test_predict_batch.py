"""Batch prediction with a small published model: rows, thresholds, resuming and drift reports."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

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
from tests.support.run_cli import ROOT
from tests.support.sample_files import encoded, noise, parquet, put

pytestmark = pytest.mark.slow
COUNT = 700  # images
MANY = 50_000  # images, which make four parts


def model() -> keras.Model:
    """A model for 8x8 colour images of seven classes, with varied predictions."""
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
    """A published version without a profile."""
    return publish_model(workspace)


def publish_model(workspace: Workspace, **more: str) -> ModelVersion:
    """Publish the model; `more` are further facts of its manifest."""
    fake = FakeOutputs(workspace)
    facts = {"classes": list(fake.classes), "shape": list(fake.shape), **more}
    facts["abstention"] = [{"max_error": 0.05, "threshold": 0.6}, {"max_error": 0.01, "threshold": None}]
    ingredients, directory = Ingredients("publish", {}, {}), workspace.models / "animals" / "v0001"

    def build(staging: Path) -> dict[str, object]:
        model().save(staging / "model.keras")
        return facts

    publish.publish(directory, ingredients, build)
    sha256 = hashing.sha256_file(directory / "model.keras")
    return ModelVersion(workspace.relative(directory), ingredients.digest, sha256, "animals", "v0001")


def image_file(folder: Path) -> tuple[Path, np.ndarray]:
    """A parquet file of `COUNT` images, of which number 300 is damaged, and the pixels."""
    pixels = np.stack([noise(seed, 8, 8) for seed in range(COUNT)])
    contents = [encoded(image) for image in pixels]
    contents[300] = b"broken"
    return parquet(folder / "x.parquet", [0] * COUNT, contents=contents), pixels


def predicted(version: ModelVersion, out: Path, *paths: Path, threshold: float | None = None) -> list[Batch]:
    """Predict all new images at the paths; returns the batches."""
    request = PredictionRequest(
        version.dataset, version.version, version.model_sha256, tuple(map(str, paths)), threshold
    )
    with prediction_table.locked_folder(out):
        batches = prediction_table.pending_batches(out, request, list_inputs(request.inputs))
        for batch in batches:
            predict_batch.predict(batch, version)
    return batches


def test_predict_gives_keras_predictions(published: ModelVersion, tmp_path: Path) -> None:
    path, pixels = image_file(tmp_path)
    (batch,) = predicted(published, tmp_path / "out", path)
    rows = pq.read_table(tmp_path / "out").to_pandas()
    expected = keras.models.load_model(published.directory / "model.keras").predict(pixels, verbose=0)
    readable = np.arange(COUNT) != 300
    np.testing.assert_allclose(np.stack(rows["probabilities"][readable]), expected[readable], atol=1e-6)
    classes = np.array(published.manifest["facts"]["classes"])
    assert list(rows["predicted_class_name"][readable]) == list(classes[expected[readable].argmax(1)])
    np.testing.assert_allclose(rows["probability"][readable], expected[readable].max(1), atol=1e-6)
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


def test_predict_at_an_operating_point_says_so_and_is_another_answer(
    published: ModelVersion, tmp_path: Path
) -> None:
    path, _ = image_file(tmp_path)
    (first,) = predicted(published, tmp_path / "out", path)
    first.finish({})
    shares = np.stack(pq.read_table(first.path(0)).to_pandas()["probabilities"].dropna())
    threshold = float(np.median(shares[:, 5]))
    rule = {"thresholds": [[5, threshold]]}
    request = PredictionRequest(
        "animals", "v0001", published.model_sha256, (str(path),), operating_point=rule
    )
    with prediction_table.locked_folder(tmp_path / "out"):
        (batch,) = prediction_table.pending_batches(tmp_path / "out", request, list_inputs(request.inputs))
        predict_batch.predict(batch, published)
        batch.finish({})
        assert prediction_table.pending_batches(tmp_path / "out", request, list_inputs(request.inputs)) == []
    rows = pq.read_table(batch.path(0)).to_pandas().drop(index=300)
    probabilities = np.stack(rows["probabilities"]).astype(np.float64)
    others = probabilities.copy()
    others[:, 5] = -1
    expected = np.where(probabilities[:, 5] >= threshold, 5, others.argmax(1))
    assert len(rows) // 2 <= np.sum(expected == 5) < len(rows)
    assert rows["predicted_label"].tolist() == expected.tolist()
    np.testing.assert_allclose(rows["probability"], probabilities[np.arange(len(rows)), expected])
    assert set(rows["decision"]) == {"operating point"}
    assert set(pq.read_table(first.path(0))["decision"].to_pylist()) == {"most probable class"}


def test_predict_fits_images_as_the_version_says(workspace: Workspace, tmp_path: Path) -> None:
    """The picture's left and right fifths are bright: only a model that sees the whole of it knows."""
    version = publish_model(workspace, fit="pad")
    image = np.zeros((8, 20, 3), np.uint8)
    image[:, :4] = image[:, -4:] = (250, 40, 90)
    put(tmp_path / "wide" / "a.png", encoded(image))
    predicted(version, tmp_path / "out", tmp_path / "wide")
    padded = ImageOps.pad(Image.fromarray(image), (8, 8), Image.Resampling.BILINEAR)
    loaded = keras.models.load_model(version.directory / "model.keras")
    expected = loaded.predict(np.asarray(padded)[None], verbose=0)
    (found,) = pq.read_table(tmp_path / "out")["probabilities"].to_pylist()
    np.testing.assert_allclose(found, expected[0], atol=1e-6)


def test_predict_with_candidates_writes_the_least_certain_images_and_embeddings(
    published: ModelVersion, tmp_path: Path
) -> None:
    path, pixels = image_file(tmp_path)
    request = PredictionRequest("animals", "v0001", published.model_sha256, (str(path),))
    (batch,) = prediction_table.pending_batches(tmp_path / "out", request, list_inputs(request.inputs))
    predict_batch.predict(batch, published, with_candidates=True, embeddings=tmp_path / "embeddings")
    rows = pq.read_table(batch.candidates(0)).to_pylist()
    expected = keras.models.load_model(published.directory / "model.keras").predict(pixels, verbose=0)
    top = np.sort(np.delete(expected, 300, axis=0), axis=1)
    np.testing.assert_allclose([row["margin"] for row in rows], np.sort(top[:, -1] - top[:, -2]), atol=1e-5)
    assert len(rows[0]["embedding"]) == 16
    table = pq.read_table(tmp_path / "embeddings").to_pandas()
    assert table["path"].tolist() == pq.read_table(tmp_path / "out")["path"].to_pylist()
    assert table.index[table["embedding"].isna()].tolist() == [300]  # it cannot be read
    by_row = table.set_index("row")["embedding"]
    assert all(np.array_equal(by_row[row["row"]], row["embedding"]) for row in rows[:9])
    assert set(table["model"]) == {"v0001"}


def test_predict_below_threshold_abstains(published: ModelVersion, tmp_path: Path) -> None:
    path, pixels = image_file(tmp_path)
    threshold = abstention.threshold(published, 0.05, None)
    predicted(published, tmp_path / "out", path, threshold=threshold)
    rows = pq.read_table(tmp_path / "out").to_pandas().drop(300)
    expected = keras.models.load_model(published.directory / "model.keras").predict(pixels, verbose=0).max(1)
    abstained = np.delete(expected, 300) < 0.6
    assert 0 < abstained.sum() < COUNT - 1
    assert list(rows["abstained"]) == list(abstained)
    assert list(rows["predicted_class_name"].isna()) == list(abstained)


def test_threshold_for_unproven_error_rate_raises(published: ModelVersion) -> None:
    assert abstention.threshold(published, None, None) is None
    assert abstention.threshold(published, None, 0.3) == 0.3
    with pytest.raises(UsageError, match=r"no threshold for an error rate of 0\.01"):
        abstention.threshold(published, 0.01, None)
    with pytest.raises(UsageError, match="exclude each other"):
        abstention.threshold(published, 0.05, 0.5)
    with pytest.raises(UsageError, match="must lie in"):
        abstention.threshold(published, None, 1.5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_predict_again_with_missing_parts_gives_same_bytes(
    published: ModelVersion, tmp_path: Path, precision: str
) -> None:
    path, _ = image_file(tmp_path)
    for number in range(300):
        put(tmp_path / "more" / f"{number:03}.png", encoded(noise(number, 9, 7)))
    inputs = (str(path), str(tmp_path / "more"))
    request = PredictionRequest("animals", "v0001", published.model_sha256, inputs, precision=precision)
    with prediction_table.locked_folder(tmp_path / "out"):
        (batch,) = prediction_table.pending_batches(
            tmp_path / "out", request, list_inputs(request.inputs), part=100
        )
        predict_batch.predict(batch, published)
        expected = {file.name: file.read_bytes() for file in batch.directory.iterdir()}
        assert len(batch.parts) == 4
        for part in (1, 3):
            batch.path(part).unlink()
        predict_batch.predict(batch, published)
        assert {file.name: file.read_bytes() for file in batch.directory.iterdir()} == expected


def test_predict_after_kill_loses_and_repeats_no_row(
    published: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    """SIGKILL after the first part; the resumed run's parts have the bytes of an uninterrupted one."""
    contents = [encoded(noise(seed, 8, 8)) for seed in range(100)]
    path = parquet(tmp_path / "x.parquet", [0] * MANY, contents=contents * (MANY // 100), row_group_size=1000)
    code = (
        "import sys; from pathlib import Path; from tests.core.model.inference import test_predict_batch\n"
        "from tasks.core.stage.handles import ModelVersion\n"
        f"version = ModelVersion(**{published.as_dict()!r})\n"
        f"test_predict_batch.predicted(version, Path({str(tmp_path / 'killed')!r}), Path({str(path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not list((tmp_path / "killed").glob("batch=*/part-*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 1 <= len(list((tmp_path / "killed").glob("batch=*/part-*"))) < 4
    for out in ("killed", "uninterrupted"):
        predicted(published, tmp_path / out, path)
    assert sorted(pq.read_table(tmp_path / "killed")["row"].to_pylist()) == list(range(MANY))
    resumed, expected = (
        [file.read_bytes() for file in sorted((tmp_path / out).glob("batch=*/part-*"))]
        for out in ("killed", "uninterrupted")
    )
    assert resumed == expected


def test_drift_report_compares_batch_with_profile(
    published: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    image_profile = profile.profile(published, FakeOutputs(workspace, images=2000).tensors(), workspace)
    assert (image_profile.split, image_profile.images) == ("val", 400)
    image_profile.directory.rename(published.directory / profile.FOLDER)
    for name, change in (("same", lambda image: image), ("dark", lambda image: image // 2)):
        contents = [encoded(change(noise(seed, 8, 8))) for seed in range(COUNT)]
        path = parquet(tmp_path / f"{name}.parquet", [0] * COUNT, contents=contents)
        (batch,) = predicted(published, tmp_path / name, path)
        result = drift_report.write_drift_report(batch, published)
        written = json.loads((batch.directory / drift_report.FIGURES).read_bytes())
        assert written == result.record()
        assert result.images == COUNT
        page = (batch.directory / drift_report.PAGE).read_text()
        if name == "same":
            assert not result.drifted, str(result)
            assert "The images resemble those" in page
        else:
            assert "brightness" in {shift.feature for shift in result.drifted}
            assert "features differ from the images" in page
        assert (batch.directory / drift_report.PICTURE).read_bytes()[:4] == b"\x89PNG"
        assert "brightness" in drift_report.summary(batch, result)


def test_predict_in_another_precision_skips_what_is_answered(published: ModelVersion, tmp_path: Path) -> None:
    path, _ = image_file(tmp_path)
    (batch,) = predicted(published, tmp_path / "out", path)
    other = replace(batch.request, precision="bfloat16")
    assert prediction_table.pending_batches(tmp_path / "out", other, list_inputs(other.inputs)) == []
    batch.finish({})
    assert prediction_table.pending_batches(tmp_path / "out", other, list_inputs(other.inputs)) == []


def test_drift_report_without_profile_is_not_compared(published: ModelVersion, tmp_path: Path) -> None:
    path, _ = image_file(tmp_path)
    (batch,) = predicted(published, tmp_path / "out", path)
    result = drift_report.write_drift_report(batch, published)
    assert isinstance(result, drift.Drift)
    assert str(result) == "not compared: v0001 was published without a profile of its images"
    assert not list(batch.directory.glob("_sample*"))
