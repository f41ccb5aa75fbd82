import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.files import class_names
from tasks.core.data.readers import factory
from tasks.core.data.sources.acquire import acquire
from tasks.core.data.tensors.cache import read_rows
from tasks.core.data.tensors.normalize import normalize
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import parquet, photos, put

NUMBERS = tuple(str(number) for number in range(12))


def tensors_of(path: Path, workspace: Workspace) -> TensorCache:
    raw = acquire(SourceSettings(dataset=str(path)), workspace)
    return normalize(raw, NormalizeSettings(max_quarantine=0.5), workspace)


def test_folders_of_whole_numbers_are_labelled_in_numeric_order(tmp_path: Path, workspace: Workspace) -> None:
    """`argmax == int(folder)` holds: in the order of texts 10 and 11 come before 2 (pytorch/vision#714)."""
    tensors = tensors_of(photos(tmp_path / "p", dict.fromkeys(NUMBERS, 3)), workspace)
    assert tensors.classes == NUMBERS
    rows = read_rows(tensors, ["label", "class_name"])
    expected = [int(name) for name in rows["class_name"].to_pylist()]
    np.testing.assert_array_equal(rows["label"].to_numpy(), expected)


def test_order_of_other_names_is_that_of_texts() -> None:
    assert class_names.ordered(["10", "9", "x"]) == ("10", "9", "x")
    assert class_names.ordered(["010", "9", "08"]) == ("08", "9", "010")
    assert class_names.ordered(["1.0", "10", "9"]) == ("1.0", "10", "9")


def test_parquet_numbers_without_names(tmp_path: Path, workspace: Workspace) -> None:
    """Numeric order, and -1 is no label (huggingface/datasets#4511)."""
    parquet(tmp_path / "x.parquet", [*range(12)] * 3 + [-1, -1])
    tensors = tensors_of(tmp_path / "x.parquet", workspace)
    assert tensors.classes == NUMBERS
    assert tensors.quarantined == 2


def test_csv_label_minus_one_is_no_label(tmp_path: Path, workspace: Workspace) -> None:
    photos(tmp_path / "x", {"a": 9})
    labels = [0, 1] * 4 + [-1]
    lines = [f"x/a/00{n}.png,{label}" for n, label in enumerate(labels)]
    put(tmp_path / "table.csv", "\n".join(["path,label", *lines]).encode())
    raw = acquire(SourceSettings(dataset=str(tmp_path / "table.csv")), workspace)
    assert (raw.images, raw.unused_files) == (8, 1)
    assert factory.open_raw(raw).classes == ("0", "1")


def test_csv_class_minus_one_beside_words_is_a_class(tmp_path: Path, workspace: Workspace) -> None:
    photos(tmp_path / "x", {"a": 2})
    put(tmp_path / "table.csv", b"path,label\nx/a/000.png,-1\nx/a/001.png,cat")
    raw = acquire(SourceSettings(dataset=str(tmp_path / "table.csv")), workspace)
    assert factory.open_raw(raw).classes == ("-1", "cat")


@pytest.mark.parametrize(
    "pair",
    [
        *[("Cat", "cat"), ("dog ", "dog"), ("1", "1.0"), ("1", "01"), ("sea lion", "sea_lion"), ("1", "1e0")],
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", unicodedata.normalize("NFD", "café")),
    ],
)
def test_names_that_differ_in_form_only_are_named(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture, pair: tuple[str, str]
) -> None:
    assert class_names.alike([*pair, "eel"]) == [tuple(sorted(pair))]
    with caplog.at_level(logging.WARNING):
        tensors_of(photos(tmp_path / "p", dict.fromkeys((*pair, "eel"), 12)), workspace)
    # A set: once Prefect has set up logging in this process, a record reaches caplog twice.
    (message,) = {
        text for text in map(logging.LogRecord.getMessage, caplog.records) if "differ only in" in text
    }
    assert repr(pair[0]) in message


def test_numbers_beside_words_are_named(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tensors_of(photos(tmp_path / "p", {"0": 9, "1": 9, "cat": 9, "dog": 9}), workspace)
    assert "some classes are numbers, others are not" in caplog.text
