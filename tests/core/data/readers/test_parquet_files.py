"""Which files of a folder are read as parquet, and what is said of those that are missing."""

from pathlib import Path

import pytest

from tasks.core.data.readers.parquet.reader import scan
from tasks.core.errors import DataError
from tests.support.sample_files import parquet


def test_parquet_suffix_in_capitals_is_read(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [0, 1])
    parquet(tmp_path / "train-1.PARQUET", [0, 1])
    assert scan(tmp_path)["path"].to_pylist() == ["train-0.parquet", "train-1.PARQUET"]


@pytest.mark.parametrize(
    ("numbers", "warnings"),
    [
        pytest.param([0, 2], ["1 of 3 parts of data/train are missing, such as number 1"], id="between"),
        pytest.param([2], ["2 of 3 parts of data/train are missing, such as number 0"], id="first"),
        pytest.param([1, 3], ["1 of 3 parts of data/train are missing, such as number 2"], id="from one on"),
        pytest.param([0, 1, 2], [], id="all"),
        pytest.param([1, 2, 3], [], id="all, from one on"),
    ],
)
def test_parquet_missing_parts_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, numbers: list[int], warnings: list[str]
) -> None:
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [0, 1])
    for number in numbers:
        parquet(tmp_path / "data" / f"train-{number:05d}-of-00003.parquet", [0, 1])
    scan(tmp_path)
    expected = [f"{tmp_path}: {warning}: their images are not used" for warning in warnings]
    assert [record.getMessage() for record in caplog.records] == expected


@pytest.mark.parametrize("target", ["nowhere.parquet", "train-1.parquet"])
def test_parquet_broken_link_is_refused_by_name(tmp_path: Path, target: str) -> None:
    """As a download of the hub has them that broke off: its files are links."""
    parquet(tmp_path / "train-0.parquet", [0, 1])
    (tmp_path / "train-1.parquet").symlink_to(target)
    with pytest.raises(DataError, match=r"train-1.parquet cannot be read") as refused:
        scan(tmp_path)
    assert refused.value.parts["found"].startswith("a broken link: ")


@pytest.mark.parametrize(("folder", "named"), [("group=p1", ["group"]), ("split=train", []), ("a=b", ["a"])])
def test_parquet_columns_in_names_of_folders_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: str, named: list[str]
) -> None:
    parquet(tmp_path / folder / "part-0.parquet", [0, 1])
    scan(tmp_path)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(named)
    assert all(f"--group-by '{name}=([^/]+)'" in text for name, text in zip(named, messages, strict=True))
