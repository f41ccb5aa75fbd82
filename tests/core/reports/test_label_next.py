"""Images to label next: the candidates of a batch, their table and their contact sheet. No TensorFlow."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.core.data.inference.images import ImageBatch
from tasks.core.data.inference.prediction_table import FORMAT, REQUEST, Batch, PredictionRequest
from tasks.core.errors import UsageError
from tasks.core.model.inference import label_candidates
from tasks.core.model.inference.label_candidates import LabelCandidates
from tasks.core.reports import label_next
from tasks.core.stage import publish
from tasks.core.stage.handles import ModelVersion
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

CLASSES = ["ant", "bee", "cat"]
Floats = np.ndarray


def images(count: int, first: int = 0) -> ImageBatch:
    """Images `a<number>.jpg` of one colour each, of which each tenth cannot be read."""
    batch = ImageBatch.empty(count, (120, 160, 3))
    for number in range(first, first + count):
        batch.images[number - first] = number % 256
        batch.paths.append(f"/photos/a{number}.jpg")
        batch.rows.append(None)
        batch.problems.append("not an image" if number % 10 == 9 else None)
    return batch


def told(count: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Probabilities and embeddings."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([0.3] * len(CLASSES), count).astype(np.float32)
    return probabilities, generator.normal(size=(count, 8)).astype(np.float32)


@pytest.fixture
def version(workspace: Workspace) -> ModelVersion:
    """A published version; its file is no model."""
    made_of, directory = Ingredients("publish", {}, {}), workspace.models / "animals" / "v0001"

    def build(staging: Path) -> dict[str, object]:
        (staging / "model.keras").write_text("")
        return {"classes": CLASSES}

    publish.publish(directory, made_of, build)
    return ModelVersion(workspace.relative(directory), made_of.digest, "0", "animals", "v0001")


def batch_of(folder: Path, parts: int, count: int) -> tuple[Batch, Floats]:
    """A batch of parts with `count` images each, and the probabilities of all of them."""
    request = PredictionRequest("animals", "v0001", "0", ())
    batch = Batch(folder / "batch=20261126-120000-0000002a", request, ((count, count),) * parts)
    batch.directory.mkdir()
    collector, everything = LabelCandidates(), []
    for part in range(parts):
        probabilities, embeddings = told(count, part)
        collector.add(images(count, part * count), probabilities, embeddings)
        collector.write(batch.candidates(part))
        everything.append(probabilities)
    return batch, np.concatenate(everything)


def test_candidates_are_the_least_certain_readable_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_candidates, "MOST", 7)
    collector, (probabilities, embeddings) = LabelCandidates(), told(60)
    for start in range(0, 60, 20):
        part = slice(start, start + 20)
        collector.add(images(20, start), probabilities[part], embeddings[part])
    collector.write(tmp_path / "x.parquet")
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    top = np.sort(probabilities, axis=1)
    margins = np.where(np.arange(60) % 10 == 9, np.inf, top[:, 2] - top[:, 1])
    expected = np.argsort(margins)[:7]
    assert [row["path"] for row in rows] == [f"/photos/a{number}.jpg" for number in expected]
    np.testing.assert_allclose([row["embedding"] for row in rows], embeddings[expected])
    assert not collector.rows


def test_label_next_is_a_table_and_a_sheet_of_all_parts(tmp_path: Path, version: ModelVersion) -> None:
    batch, probabilities = batch_of(tmp_path, parts=2, count=40)
    assert label_next.write_label_next(batch, version, 12) == 12
    table = label_next.read_label_next(batch.directory)
    assert table.schema.equals(label_next.SCHEMA)
    rows = table.to_pylist()
    assert [row["rank"] for row in rows] == list(range(1, 13))
    numbers = [int(row["path"].removeprefix("/photos/a").removesuffix(".jpg")) for row in rows]
    assert len(set(numbers)) == 12
    for number, row in zip(numbers, rows, strict=True):
        first, second = np.argsort(-probabilities[number])[:2]
        assert (row["predicted_class_name"], row["second_class_name"]) == (CLASSES[first], CLASSES[second])
        assert row["margin"] == pytest.approx(probabilities[number][first] - probabilities[number][second])
    page = (batch.directory / label_next.PAGE).read_text()
    assert page.count("data:image/png;base64,") == 12


def test_items_of_a_batch_have_no_label_and_a_picture(tmp_path: Path, version: ModelVersion) -> None:
    batch, _ = batch_of(tmp_path, parts=1, count=40)
    request = {"format": FORMAT, "request": asdict(batch.request), "parts": batch.parts}
    (batch.directory / REQUEST).write_text(json.dumps(request))
    label_next.write_label_next(batch, version, 12)
    rows = label_next.read_label_next(batch.directory).to_pylist()
    for folder in (tmp_path, batch.directory):
        items = label_next.read_items(folder, "animals")
        assert [item.path for item in items] == [row["path"] for row in rows]
        assert {(item.image_id, item.class_name, item.lists) for item in items} == {("", "", ("label next",))}
        assert items[0].predictions[0].class_name == rows[0]["predicted_class_name"]
        assert items[0].thumbnail.startswith(b"\x89PNG")
    for folder, dataset in ((tmp_path / "nowhere", "animals"), (tmp_path, "plants")):
        with pytest.raises(UsageError, match="no images to label next for"):
            label_next.read_items(folder, dataset)


def test_label_next_is_the_same_again(tmp_path: Path, version: ModelVersion) -> None:
    batch, _ = batch_of(tmp_path, parts=1, count=40)
    label_next.write_label_next(batch, version, 12)
    before = label_next.read_label_next(batch.directory)
    label_next.write_label_next(batch, version, 12)
    assert label_next.read_label_next(batch.directory).equals(before)


def test_label_next_without_candidates_says_so(tmp_path: Path, version: ModelVersion) -> None:
    batch, _ = batch_of(tmp_path, parts=1, count=40)
    batch.candidates(0).unlink()
    assert label_next.write_label_next(batch, version, 12) == 0
    assert label_next.read_label_next(batch.directory).num_rows == 0
    assert "no image to choose" in (batch.directory / label_next.PAGE).read_text()


@pytest.mark.parametrize("count", [-1, label_next.MOST + 1])
def test_number_of_images_out_of_range_raises(count: int) -> None:
    with pytest.raises(UsageError, match="--label-next"):
        label_next.check_count(count)
