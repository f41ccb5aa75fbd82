"""Each image's features are computed once, whatever happens in between."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.config import EmbedSettings, NormalizeSettings, SourceSettings
from tasks.core.data.sources.acquire import acquire
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.data.tensors.normalize import normalize
from tasks.core.model.backbones import catalog, network
from tasks.core.model.devices import device
from tasks.core.model.features import embed, reading
from tasks.core.model.features.extractor import BATCH
from tasks.core.stage.handles import Features, TensorCache
from tasks.core.workspace import Workspace
from tests.support.synthetic_photos import scenes

pytestmark = pytest.mark.slow

SIZE = 64
SCRIPT = Path(__file__).resolve().parents[3] / "support" / "processes" / "killed_embed_process.py"


def write(folder: Path, count: int, seed: int = 0) -> Path:
    """Photos of two classes, in PNG, without duplicates."""
    for number, picture in enumerate(scenes(count, seed, side=72)):
        path = folder / ("even" if number % 2 == 0 else "odd") / f"{seed}-{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return folder


def run(folder: Path, workspace: Workspace, size: int = SIZE) -> tuple[Features, TensorCache]:
    raw = acquire(SourceSettings(str(folder)), workspace)
    tensors = normalize(raw, NormalizeSettings(), workspace)
    settings = EmbedSettings(catalog.DEFAULT, size)
    return embed.embed(raw, tensors, settings, workspace), tensors


def by_image(features: Features, tensors: TensorCache) -> dict[str, np.ndarray]:
    """Features, float16 (views, D), by image."""
    found = {}
    for split in SPLITS:
        image_ids = read_rows(tensors, ["image_id"], split)["image_id"].to_pylist()
        found |= dict(zip(image_ids, reading.open_features(features, split), strict=True))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "photos", 40)


def test_features_are_those_of_the_backbone_for_the_image_and_its_mirror_image(
    folder: Path, workspace: Workspace
) -> None:
    features, tensors = run(folder, workspace)
    assert features.computed == features.images == 40
    path = read_rows(tensors, ["path"], "train")["path"].to_pylist()[0]
    photo = Image.open(folder / path).resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.asarray(photo)[None]
    backbone = network.build(catalog.EFFICIENTNET_LITE0, SIZE)
    expected = np.concatenate([backbone(pixels), backbone(pixels[:, :, ::-1])])
    found = reading.open_features(features, "train")[0].astype(np.float32)
    assert found.shape == (2, 1280)
    for view in range(2):  # precision and resizing may differ a little, other features do not
        assert np.corrcoef(found[view], expected[view])[0, 1] > 0.98


def test_second_run_computes_nothing(folder: Path, workspace: Workspace) -> None:
    first, _ = run(folder, workspace)
    again, _ = run(folder, workspace)
    assert again == first
    shutil.rmtree(first.directory)
    rebuilt, _ = run(folder, workspace)
    assert (rebuilt.computed, rebuilt.images) == (0, 40)


def test_one_added_photo_is_the_only_one_computed(folder: Path, workspace: Workspace) -> None:
    before = by_image(*run(folder, workspace))
    write(folder, 1, seed=1)
    features, tensors = run(folder, workspace)
    assert (features.computed, features.images) == (1, 41)
    after = by_image(features, tensors)
    assert set(before) < set(after)
    for image_id, values in before.items():
        np.testing.assert_array_equal(values, after[image_id])


def test_dataset_that_shares_half_of_its_photos_computes_the_other_half(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    run(folder, workspace)
    other = write(tmp_path / "other", 20, seed=1)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        if number % 2 == 0:
            shutil.copy(path, other / "even" / f"copy-{path.name}")
    features, _ = run(other, workspace)
    assert (features.computed, features.images) == (20, 40)


def test_two_copies_of_a_photo_are_computed_once(folder: Path, workspace: Workspace) -> None:
    shutil.copy(folder / "even" / "0-000.png", folder / "even" / "copy.png")
    features, _ = run(folder, workspace)
    assert (features.computed, features.images) == (40, 41)


def test_changed_image_size_computes_all_again(folder: Path, workspace: Workspace) -> None:
    run(folder, workspace)
    features, _ = run(folder, workspace, size=72)
    assert features.computed == 40


def kept(workspace: Workspace) -> list[str]:
    """The images in the store, one entry for each time that one was computed."""
    parts = (workspace.root / "features").glob("*/*.parquet")
    return [image_id for path in parts for image_id in pq.read_table(path)["image_id"].to_pylist()]


def kill_after(parts: int, folder: Path, workspace: Workspace) -> None:
    """Start to embed in a process, and kill it by SIGKILL once the store has so many parts."""
    command = [sys.executable, str(SCRIPT), str(workspace.root), str(folder), str(SIZE)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list((workspace.root / "features").glob("*/*.parquet"))) < parts and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()


def test_killed_embedding_resumes_and_computes_no_image_of_a_finished_batch_twice(
    tmp_path: Path, workspace: Workspace
) -> None:
    batch = BATCH[device.policy()]
    count = 8 * batch
    folder = write(tmp_path / "photos", count)
    for parts in (1, 3):
        kill_after(parts, folder, workspace)
        assert batch * parts <= len(kept(workspace)) < count
    known = len(kept(workspace))
    features, tensors = run(folder, workspace)
    assert features.computed == count - known
    assert sorted(kept(workspace)) == sorted(by_image(features, tensors))  # each image once
    undisturbed, _ = run(folder, Workspace.open(tmp_path / "undisturbed"))
    assert undisturbed.computed == count
    contents = [(undisturbed.directory / f"{split}.features.npy").read_bytes() for split in SPLITS]
    Workspace.open(workspace.root)
    assert contents == [(features.directory / f"{split}.features.npy").read_bytes() for split in SPLITS]
