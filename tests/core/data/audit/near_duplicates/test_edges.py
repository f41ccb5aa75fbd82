"""What details deny and what edges tell, on pages of one layout and on photos most of which have a copy."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.audit import audit
from tasks.core.data.audit.near_duplicates import registration
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.workspace import Workspace
from tests.core.data.audit.test_audit import pairs_of
from tests.support.sample_files import encoded, put
from tests.support.synthetic_photos import brightened, scenes

Images = NDArray[np.uint8]


def pages(count: int) -> Images:
    """White pages of 96x96 with lines of words: each cell of 3x3 pixels has its gap at another place."""
    generator = np.random.default_rng(0)
    images = np.full((count, 96, 96, 3), 255, np.uint8)
    images[:, :9] = (60, 90, 160)
    for top in range(15, 87, 6):
        is_ink = np.arange(3) != generator.integers(3, size=(count, 26, 1))
        images[:, top : top + 3, 9:87] = np.where(is_ink, 20, 255).reshape(count, 1, 78, 1)
    return images


def found(images: dict[str, Images], root: Path, workspace: Workspace) -> set[tuple[str, ...]]:
    for path, image in images.items():
        put(root / f"{path}.png", encoded(image))
    source = acquire.acquire(SourceSettings(str(root)), workspace)
    cache = normalize.normalize(source, NormalizeSettings(), workspace)
    return pairs_of(audit.audit(cache, workspace), cache)


@pytest.mark.slow
def test_pages_of_one_layout_are_no_copies_and_a_darker_page_is(tmp_path: Path, workspace: Workspace) -> None:
    drawn = pages(54)
    splits = ["train"] * 13 + ["val"] + ["test"] * 2
    images = {f"{splits[n % 16]}/{'ab'[n // 16 % 2]}/{n:02d}": page for n, page in enumerate(drawn)}
    images["test/a/copy"] = brightened(drawn[2], 0.95)
    near = {pair for pair in found(images, tmp_path / "pages", workspace) if pair[0] == "near"}
    assert near == {("near", "test/a/copy", "train/a/02")}


def test_edges_are_compared_where_most_images_have_a_copy(tmp_path: Path, workspace: Workspace) -> None:
    """Each photo of 40 has a copy without its outer pixels, as augmented folders have."""
    photos = scenes(40, side=64)
    images = {}
    for number, photo in enumerate(photos):
        name = "ab"[number % 2]
        images[f"train/{name}/{number:02d}"] = photo
        inner = Image.fromarray(photo[4:-4, 4:-4]).resize((64, 64), Image.Resampling.BICUBIC)
        images[f"{('val', 'test')[number // 2 % 2]}/{name}/{number:02d}"] = np.asarray(inner)
    pairs = found(images, tmp_path / "augmented", workspace)
    assert len({pair for pair in pairs if Path(pair[1]).name == Path(pair[2]).name}) >= 30


def test_edges_of_digits_tell_nothing(tmp_path: Path, workspace: Workspace) -> None:
    """146 pairs of different digits have the same edges once one is laid on the other."""
    digits = load_digits()
    images = {
        f"{label}/{number:03d}": np.asarray(Image.fromarray(np.uint8(image * 15.9)).resize((32, 32)))
        for number, (image, label) in enumerate(zip(digits.images[:300], digits.target, strict=False))
    }
    assert found(images, tmp_path / "digits", workspace) == set()


@pytest.mark.parametrize("covered", [0, 14])
def test_a_caption_does_not_deny_a_copy(covered: int) -> None:
    generator = np.random.default_rng(0)
    one = scenes(3, side=96, channels=1).astype(np.float32)
    other = one.copy()
    other[:, 96 - covered :] = generator.normal(128, 90, (3, covered, 96, 1))
    smooth = (registration.smoothed(images) for images in (one, other))
    assert (registration.edge_correlation(*smooth, np.zeros(3, bool), 4) > 0.97).all()
