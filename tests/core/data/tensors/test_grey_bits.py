"""Grey values of more than 8 bits are scaled by the bits of the dataset, in training and prediction."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.inference import images, inputs
from tasks.core.data.sources.acquire import acquire
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.data.tensors.normalize import normalize
from tasks.core.errors import QuarantineError
from tasks.core.evaluation.comparable import why_incomparable
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import photos

NUMBERS = range(12)


def grey(number: int, highest: int) -> NDArray[np.uint16]:
    """Random values of 0 to `highest`, both among them."""
    pixels = np.random.default_rng(number).integers(0, highest + 1, (16, 16)).astype(np.uint16)
    pixels[0, :2] = 0, highest
    return pixels


def scans(root: Path, highest: dict[int, int], usual: int = 4095) -> Path:
    for number in NUMBERS:
        folder = root / ("ill", "well")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey(number, highest.get(number, usual))).save(folder / f"{number:02d}.png")
    return root


def tensors_of(root: Path, workspace: Workspace, **settings: float) -> TensorCache:
    raw = acquire(SourceSettings(dataset=str(root)), workspace)
    return normalize(raw, NormalizeSettings(**settings), workspace)


def rows_of(tensors: TensorCache) -> dict[int, NDArray[np.uint8]]:
    found = {}
    for split in ("train", "val", "test"):
        paths = read_rows(tensors, ["path"], split)["path"].to_pylist()
        stacked = open_split(tensors, split).images
        found |= {int(Path(path).stem): image[:, :, 0] for path, image in zip(paths, stacked, strict=True)}
    return found


@pytest.mark.parametrize(
    ("highest", "bits"), [({}, 12), ({11: 65535}, 16), ({11: 5000}, 14), ({0: 200, 11: 900}, 12)]
)
def test_the_datasets_largest_value_decides(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture, highest: dict[int, int], bits: int
) -> None:
    caplog.set_level("INFO", "plumbline")
    tensors = tensors_of(scans(tmp_path / "scans", highest), workspace)
    assert tensors.grey_bits == bits
    assert [line for line in caplog.messages if "grey" in line] == [
        f"grey values of {bits} bits are scaled to 8"
    ]
    found = rows_of(tensors)
    assert sorted(found) == list(NUMBERS)
    for number, image in found.items():
        expected = np.rint(grey(number, highest.get(number, 4095)) * 255.0 / (2**bits - 1))
        np.testing.assert_array_equal(image, expected)


def test_a_lesion_in_12_bits_stays(tmp_path: Path, workspace: Workspace) -> None:
    """The case of https://github.com/mr7495/COVID-CTset/issues/3: 182 grey values became 5."""
    found = rows_of(tensors_of(scans(tmp_path / "scans", {}), workspace))
    assert all(len(np.unique(image)) > 100 for image in found.values())


def test_values_of_8_bits_in_16_bit_files_stay(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "plumbline")
    tensors = tensors_of(scans(tmp_path / "scans", {}, usual=255), workspace)
    assert tensors.grey_bits == 8
    assert not [line for line in caplog.messages if "grey" in line]
    np.testing.assert_array_equal(rows_of(tensors)[3], grey(3, 255))


def test_other_datasets_have_8_bits_so_that_their_models_refuse_wider_scans(
    tmp_path: Path, workspace: Workspace
) -> None:
    """Before, a 12-bit scan became nearly black to such a model: 4095 of 65535 is 16 of 255."""
    tensors = tensors_of(photos(tmp_path / "pets", {"cat": 6, "dog": 6}), workspace)
    assert (tensors.grey_bits, tensors.grey_facts) == (8, {"grey_bits": 8})
    chunks = list(inputs.list_inputs([str(scans(tmp_path / "new", {}) / "ill" / "00.png")]))
    (batch,) = images.image_batches(chunks, 8, (16, 16, 1), grey_bits=tensors.grey_bits)
    assert batch.problems == ["grey values that need 12 bits: the images of the model have 8"]


def test_a_champion_of_8_bits_is_not_compared_on_wider_scans(tmp_path: Path, workspace: Workspace) -> None:
    """It cannot read them; the run would have ended with an error."""
    tensors = tensors_of(scans(tmp_path / "scans", {}), workspace)
    champion = SimpleNamespace(manifest={"facts": {"classes": list(tensors.classes)}}, grey_bits=8)
    assert "cannot read grey values of 12 bits" in why_incomparable(champion, tensors)
    assert why_incomparable(SimpleNamespace(**vars(champion) | {"grey_bits": 12}), tensors) == ""


def test_a_wider_image_later_gives_the_tensors_of_a_fresh_start(tmp_path: Path, workspace: Workspace) -> None:
    """Rows of the earlier cache were scaled otherwise, and are not copied."""
    root = scans(tmp_path / "scans", {})
    tensors_of(root, workspace)
    Image.fromarray(grey(12, 60000)).save(root / "ill" / "12.png")
    tensors = tensors_of(root, workspace)
    assert tensors.grey_bits == 16
    fresh = tensors_of(root, Workspace.open(tmp_path / "fresh"))
    assert {n: image.tobytes() for n, image in rows_of(fresh).items()}
    Workspace.open(workspace.root)
    (root / "ill" / "12.png").unlink()
    assert tensors_of(root, workspace, val_fraction=0.2).grey_bits == 12


def test_prediction_scales_as_training_did_and_refuses_more_bits(tmp_path: Path) -> None:
    root = scans(tmp_path / "new", {0: 300, 1: 65535})
    chunks = list(inputs.list_inputs([str(root / "ill" / "00.png"), str(root / "well" / "01.png")]))
    (batch,) = images.image_batches(chunks, 8, (16, 16, 1), grey_bits=12)
    np.testing.assert_array_equal(batch.images[0][:, :, 0], np.rint(grey(0, 300) * 255.0 / 4095))
    assert batch.problems == [None, "grey values that need 16 bits: the images of the model have 12"]


def test_negative_values_are_refused_with_what_to_do(tmp_path: Path, workspace: Workspace) -> None:
    for number in NUMBERS:
        folder = tmp_path / "ct" / ("ill", "well")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey(number, 2000).astype(np.int32) - 1000).save(folder / f"{number}.tif")
    with pytest.raises(QuarantineError) as error:
        tensors_of(tmp_path / "ct", workspace)
    assert "negative grey values, from -1000 to 1000: add 1000 to all images" in str(error.value)
