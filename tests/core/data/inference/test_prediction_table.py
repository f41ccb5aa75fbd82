"""The table of predictions on disk: each image once, whatever is killed, added or asked twice."""

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

ASKING = PredictionRequest("photos", "v0001", "sha", ("/photos",))


def lines(*numbers: int) -> list[InputChunk]:
    return [InputChunk(f"/photos/{number}.png", IMAGE, 1, 100, "1") for number in numbers]


def pending(out: Path, found: list[InputChunk], asking: PredictionRequest = ASKING) -> list[Batch]:
    with prediction_table.locked_folder(out):
        return prediction_table.pending_batches(out, asking, found, part=3)


def finish(batch: Batch, *parts: int) -> None:
    """Write parts as a prediction would, with the file as the only column."""
    for part in parts:
        files = [line.path for line in batch.chunks(part) for _ in range(line.images)]
        pq.write_table(pa.table({"path": files}), batch.path(part))


def rows(out: Path) -> list[str]:
    return sorted(pq.read_table(out)["path"].to_pylist())


def test_what_is_predicted_is_not_asked_for_again(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, lines(*range(8)))
    assert batch.parts == ((3, 3), (3, 3), (2, 2))
    finish(batch, 0, 1, 2)
    batch.finish({})
    assert pending(tmp_path, lines(*range(8))) == []

    (more,) = pending(tmp_path, lines(*range(10)))
    assert [line.path for line in more.chunks(0)] == ["/photos/8.png", "/photos/9.png"]
    finish(more, 0)
    assert rows(tmp_path) == sorted(f"/photos/{number}.png" for number in range(10))


def test_an_unfinished_batch_goes_on_and_what_is_new_is_another(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, lines(*range(8)))
    finish(batch, 0)
    again, fresh = pending(tmp_path, lines(*range(9)))
    assert (again, again.missing) == (batch, [1, 2])
    assert [line.path for line in fresh.chunks(0)] == ["/photos/8.png"]


def test_an_unfinished_batch_ends_when_something_else_is_asked(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, lines(*range(8)))
    finish(batch, 1)
    (other,) = pending(tmp_path, lines(*range(8)), replace(ASKING, inputs=("/photos", "/more")))
    assert batch.done == {"format": 2, "left": 2}
    finish(other, 0, 1)
    other.finish({})
    assert rows(tmp_path) == sorted(f"/photos/{number}.png" for number in range(8))


def test_another_model_or_threshold_answers_anew(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, lines(1))
    finish(batch, 0)
    batch.finish({})
    for asking in (replace(ASKING, model_sha256="other"), replace(ASKING, threshold=0.5)):
        (other,) = pending(tmp_path, lines(1), asking)
        assert other.images == 1
    assert pending(tmp_path, lines(1), replace(ASKING, version="v0002")) == []  # the same model, renamed


def test_places_that_overlap_give_an_image_once(tmp_path: Path) -> None:
    asking = replace(ASKING, inputs=("/photos", "/photos/1.png"))
    (batch,) = pending(tmp_path, [*lines(1, 2), *lines(1)], asking)
    assert batch.images == 2


def test_a_part_has_whole_lines(tmp_path: Path) -> None:
    shard = [InputChunk("/x.parquet", start, 2, 100, "1") for start in (0, 2, 4)]
    (batch,) = pending(tmp_path, shard)
    assert batch.parts == ((2, 4), (1, 2))
    assert batch.chunks(1) == shard[2:]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (batch,) = pending(tmp_path, lines(1))
    half = batch.directory / ".part-00000.parquet.tmp"
    half.write_bytes(b"half")
    (tmp_path / ".20260101-000000-ab.7.tmp").mkdir()
    with prediction_table.locked_folder(tmp_path):
        assert not half.exists()
        assert list(tmp_path.glob(".*.tmp")) == []


def test_a_file_or_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "said.parquet").write_bytes(b"")
    with (
        pytest.raises(UsageError, match="is a file"),
        prediction_table.locked_folder(tmp_path / "said.parquet"),
    ):
        pass
    (batch,) = pending(tmp_path, lines(1))
    asked = batch.directory / prediction_table.REQUEST
    asked.write_text(json.dumps(json.loads(asked.read_text()) | {"format": 1}))
    with pytest.raises(FormatError, match="unknown format"):
        prediction_table.all_batches(tmp_path)
