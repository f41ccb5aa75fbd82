"""The table of predictions: each image is predicted once, also after kills and repeated requests."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.data.inference import prediction_table
from tasks.core.data.inference.inputs import IMAGE, InputChunk
from tasks.core.data.inference.prediction_table import Batch, PredictionRequest
from tasks.core.errors import FormatError, UsageError
from tests.support.sample_files import put

REQUEST = PredictionRequest("photos", "v0001", "sha", ("/photos",))


def chunks(*numbers: int) -> list[InputChunk]:
    return [InputChunk(f"/photos/{number}.png", IMAGE, 1, 100, "1") for number in numbers]


def pending(out: Path, available: list[InputChunk], request: PredictionRequest = REQUEST) -> list[Batch]:
    with prediction_table.locked_folder(out):
        return prediction_table.pending_batches(out, request, available, part=3)


def finish(batch: Batch, *parts: int, problem: str | None = None) -> None:
    """Write parts as a prediction does, with two of the columns."""
    for part in parts:
        files = [chunk.path for chunk in batch.chunks(part) for _ in range(chunk.images)]
        problems = pa.array([problem] * len(files), pa.string())
        pq.write_table(pa.table({"path": files, "problem": problems}), batch.path(part))


def rows(out: Path) -> list[str]:
    return sorted(pq.read_table(out)["path"].to_pylist())


def test_pending_batches_skip_predicted_images(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, chunks(*range(8)))
    assert batch.parts == ((3, 3), (3, 3), (2, 2))
    finish(batch, 0, 1, 2)
    batch.finish({})
    assert pending(tmp_path, chunks(*range(8))) == []

    (second,) = pending(tmp_path, chunks(*range(10)))
    assert [chunk.path for chunk in second.chunks(0)] == ["/photos/8.png", "/photos/9.png"]
    finish(second, 0)
    assert rows(tmp_path) == sorted(f"/photos/{number}.png" for number in range(10))


def test_a_file_that_could_not_be_read_is_tried_again_once_it_can(tmp_path: Path) -> None:
    photo, out = tmp_path / "1.png", tmp_path / "out"
    chunk = InputChunk(str(photo), IMAGE, 1, 100, "1")
    (refused,) = pending(out, [chunk])
    finish(refused, 0, problem="not readable: Permission denied")
    refused.finish({"unreadable": 1})
    assert pending(out, [chunk]) == []  # it is not there, which is no reason for a row each hour

    put(photo, b"an image")
    (again,) = pending(out, [chunk])
    finish(again, 0, problem="broken PNG")
    again.finish({"unreadable": 1})
    assert pending(out, [chunk]) == []


def test_pending_batches_unfinished_batch_continues_before_a_new_one(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, chunks(*range(8)))
    finish(batch, 0)
    continued, new_batch = pending(tmp_path, chunks(*range(9)))
    assert (continued, continued.missing) == (batch, [1, 2])
    assert [chunk.path for chunk in new_batch.chunks(0)] == ["/photos/8.png"]


def test_pending_batches_other_request_finishes_the_unfinished_batch(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, chunks(*range(8)))
    finish(batch, 1)
    (other,) = pending(tmp_path, chunks(*range(8)), replace(REQUEST, inputs=("/photos", "/more")))
    assert batch.done == {"format": 2, "left": 2}
    finish(other, 0, 1)
    other.finish({})
    assert rows(tmp_path) == sorted(f"/photos/{number}.png" for number in range(8))


def test_pending_batches_other_model_or_threshold_predicts_again(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, chunks(1))
    finish(batch, 0)
    batch.finish({})
    for request in (replace(REQUEST, model_sha256="other"), replace(REQUEST, threshold=0.5)):
        (other,) = pending(tmp_path, chunks(1), request)
        assert other.images == 1
    assert pending(tmp_path, chunks(1), replace(REQUEST, version="v0002")) == []  # the same model, renamed


def test_pending_batches_overlapping_inputs_give_an_image_once(tmp_path: Path) -> None:
    request = replace(REQUEST, inputs=("/photos", "/photos/1.png"))
    (batch,) = pending(tmp_path, [*chunks(1, 2), *chunks(1)], request)
    assert batch.images == 2


def test_pending_batches_part_has_complete_chunks(tmp_path: Path) -> None:
    shard = [InputChunk("/x.parquet", start, 2, 100, "1") for start in (0, 2, 4)]
    (batch,) = pending(tmp_path, shard)
    assert batch.parts == ((2, 4), (1, 2))
    assert batch.chunks(1) == shard[2:]


def test_locked_folder_removes_partial_files(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, chunks(1))
    half = batch.directory / ".part-00000.parquet.tmp"
    half.write_bytes(b"half")
    (tmp_path / ".20260101-000000-ab.7.tmp").mkdir()
    with prediction_table.locked_folder(tmp_path):
        assert not half.exists()
        assert list(tmp_path.glob(".*.tmp")) == []


def test_prediction_table_file_or_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.parquet").write_bytes(b"")
    with (
        pytest.raises(UsageError, match="is a file"),
        prediction_table.locked_folder(tmp_path / "file.parquet"),
    ):
        pass
    (tmp_path / "file.parquet").unlink()
    (batch,) = pending(tmp_path, chunks(1))
    request_path = batch.directory / prediction_table.REQUEST
    request_path.write_text(json.dumps(json.loads(request_path.read_text()) | {"format": 1}))
    with pytest.raises(FormatError, match="unknown format"):
        prediction_table.all_batches(tmp_path)
