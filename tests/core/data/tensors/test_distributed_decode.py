"""Distributed decoding: the tensors are byte-identical for any number of portions and any workers."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tasks.core.config import Fit, NormalizeSettings, SourceSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import distributed_decode, normalize
from tasks.core.data.tensors.distributed_decode import Portion
from tasks.core.errors import FormatError
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import ALLOW_ALL_UNREADABLE, encoded, noise, parquet, photos, put


def contents(cache: TensorCache) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in cache.manifest["files"].items()}


def worker_processes(workspace: Workspace, portions: list[Portion]) -> distributed_decode.Work:
    """Decode each portion in another process, in reverse order."""

    def work(requested: Sequence[Portion]) -> Iterator[Portion]:
        portions.extend(requested)
        with ProcessPoolExecutor(2) as pool:
            for portion, done in [
                (p, pool.submit(distributed_decode.decode, p, workspace)) for p in reversed(requested)
            ]:
                done.result()
                yield portion

    return work


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Two classes of 32x32 images, a broken one, and one of another size that changes the shape."""
    root = photos(tmp_path / "animals", {"cat": 40, "dog": 40})
    put(root / "cat" / "broken.png", b"x")
    put(root / "dog" / "zz.png", encoded(noise(1, 50, 60)))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("portion", [7, 25, 1000])
def test_normalize_in_portions_is_byte_identical(animals: Path, workspace: Workspace, portion: int) -> None:
    settings = NormalizeSettings(max_quarantine=1, fit=Fit.pad)
    source = acquire.acquire(SourceSettings(str(animals)), workspace)
    local = normalize.normalize(source, settings, workspace)
    before = contents(local)
    portions: list[Portion] = []
    work = worker_processes(workspace, portions)
    distributed = normalize.normalize(source, settings, workspace, refresh=True, work=work, portion=portion)
    assert distributed.digest == local.digest
    assert contents(distributed) == before
    assert bool(portions) == (portion < 82)
    assert [path for path in (workspace.root / "tensors").iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.slow
def test_normalize_parquet_in_portions_is_byte_identical(workspace: Workspace, tmp_path: Path) -> None:
    parquet(tmp_path / "shots" / "a.parquet", ["cat", "dog"] * 15)
    source = acquire.acquire(SourceSettings(str(tmp_path / "shots")), workspace)
    before = contents(normalize.normalize(source, ALLOW_ALL_UNREADABLE, workspace))
    portions: list[Portion] = []
    work = worker_processes(workspace, portions)
    distributed = normalize.normalize(
        source, ALLOW_ALL_UNREADABLE, workspace, refresh=True, work=work, portion=4
    )
    assert contents(distributed) == before
    assert len(portions) == 6 + 2  # 24 train images are decoded for their size, then the 6 others


def test_normalize_worker_with_another_workspace_raises(
    animals: Path, workspace: Workspace, tmp_path: Path
) -> None:
    source = acquire.acquire(SourceSettings(str(animals)), workspace)

    def other_workspace(portions: Sequence[Portion]) -> Iterator[Portion]:
        for portion in portions:
            distributed_decode.decode(portion, Workspace(tmp_path / "another"))
            yield portion

    with pytest.raises(FormatError, match="a portion of the images is missing"):
        normalize.normalize(source, ALLOW_ALL_UNREADABLE, workspace, work=other_workspace, portion=7)
    assert [path for path in (workspace.root / "tensors").iterdir() if path.is_dir()] == []
