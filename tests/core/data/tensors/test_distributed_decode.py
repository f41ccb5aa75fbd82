"""Decoding in portions by others: the same tensors, however many portions and whoever decodes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tasks.core.config import SourceSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import distributed_decode, normalize
from tasks.core.data.tensors.distributed_decode import Portion
from tasks.core.errors import FormatError
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import ALL_BEAR, encoded, noise, parquet, photos, put


def contents(cache: TensorCache) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in cache.manifest["files"].items()}


def decoding(workspace: Workspace, asked: list[Portion]) -> distributed_decode.Work:
    """Has each portion decoded in another process, the last one first in each pair."""

    def work(these: Sequence[Portion]) -> Iterator[Portion]:
        asked.extend(these)
        with ProcessPoolExecutor(2) as pool:
            for portion, done in [
                (p, pool.submit(distributed_decode.decode, p, workspace)) for p in reversed(these)
            ]:
                done.result()
                yield portion

    return work


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Two classes of 32x32 images, a broken one, and one of another size that changes the plan."""
    root = photos(tmp_path / "animals", {"cat": 40, "dog": 40})
    put(root / "cat" / "broken.png", b"x")
    put(root / "dog" / "zz.png", encoded(noise(1, 50, 60)))
    return root


@pytest.mark.parametrize("portion", [7, 25, 1000])
def test_any_number_of_portions_gives_the_bytes_of_none(
    animals: Path, workspace: Workspace, portion: int
) -> None:
    source = acquire.acquire(SourceSettings(str(animals)), workspace)
    alone = normalize.normalize(source, ALL_BEAR, workspace)
    before = contents(alone)
    asked: list[Portion] = []
    work = decoding(workspace, asked)
    again = normalize.normalize(source, ALL_BEAR, workspace, refresh=True, work=work, portion=portion)
    assert again.digest == alone.digest
    assert contents(again) == before
    assert bool(asked) == (portion < 82)
    assert [path for path in (workspace.root / "tensors").iterdir() if path.name.endswith(".tmp")] == []


def test_parquet_is_decoded_in_portions_too(workspace: Workspace, tmp_path: Path) -> None:
    parquet(tmp_path / "shots" / "a.parquet", ["cat", "dog"] * 15)
    source = acquire.acquire(SourceSettings(str(tmp_path / "shots")), workspace)
    before = contents(normalize.normalize(source, ALL_BEAR, workspace))
    asked: list[Portion] = []
    work = decoding(workspace, asked)
    again = normalize.normalize(source, ALL_BEAR, workspace, refresh=True, work=work, portion=4)
    assert contents(again) == before
    assert len(asked) == 6 + 8  # 24 train images are looked at for their size, then all 30 are decoded


def test_a_worker_with_another_workspace_says_so(animals: Path, workspace: Workspace, tmp_path: Path) -> None:
    source = acquire.acquire(SourceSettings(str(animals)), workspace)

    def elsewhere(asked: Sequence[Portion]) -> Iterator[Portion]:
        for portion in asked:
            distributed_decode.decode(portion, Workspace(tmp_path / "another"))
            yield portion

    with pytest.raises(FormatError, match="a portion of images is not there"):
        normalize.normalize(source, ALL_BEAR, workspace, work=elsewhere, portion=7)
    assert [path for path in (workspace.root / "tensors").iterdir() if path.is_dir()] == []
