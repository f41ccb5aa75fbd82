"""Corrected labels: which images and classes they name, and what follows from them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers import corrections, corrections_file, factory
from tasks.core.data.readers.base import ImageIndex, ImageRef
from tasks.core.data.readers.corrections import RelabelledReader
from tasks.core.data.readers.corrections_file import Correction
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.distributed_decode import DistributedReader
from tasks.core.errors import DataError, UsageError
from tasks.core.workspace import Workspace
from tests.support.sample_files import files_below, photos, put

ROWS = ImageIndex.of(
    [
        ImageRef("aa", "cat/1.png", "", 0),
        ImageRef("bb", "cat/2.png", "", 0),
        ImageRef("aa", "dog/1.png", "", 1),
    ]
)
CLASSES = ("cat", "dog")


def write_csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_read_accepts_ids_and_paths_and_skips_rows_without_label(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "id,path,given,label\naa,cat/1.png,cat,dog\n,cat/2.png,cat, dog \nbb,,cat,\n")
    read = corrections_file.read(path)
    assert read == (Correction("aa", "", "dog"), Correction("", "cat/2.png", " dog "))
    assert corrections.overlay(ROWS, CLASSES, read).label.tolist() == [1, 1, 1]
    assert ROWS.label.tolist() == [0, 0, 1]


def test_overlay_image_that_is_left_out_is_unlabelled() -> None:
    assert corrections.overlay(ROWS, CLASSES, [Correction("aa", "", "")]).label.tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    ("correction", "words"),
    [
        (Correction("cc", "", "dog"), "1 image that does not exist: cc"),
        (Correction("", "cat/9.png", "dog"), "1 image that does not exist: cat/9.png"),
        (Correction("aa", "", "eel"), "no class eel"),
    ],
)
def test_overlay_unknown_image_or_class_is_refused(correction: Correction, words: str) -> None:
    with pytest.raises(DataError) as caught:
        corrections.overlay(ROWS, CLASSES, [correction])
    assert words in caught.value.parts["found"]


@pytest.mark.parametrize("by_path", ["cat", ""], ids=["other class", "left out"])
def test_overlay_image_that_its_path_and_its_id_give_two_classes_is_refused(by_path: str) -> None:
    by_id = Correction("aa", "", "dog")
    with pytest.raises(DataError, match="name an image twice") as caught:
        corrections.overlay(ROWS, CLASSES, [by_id, Correction("", "cat/1.png", by_path)])
    assert caught.value.parts["found"] == "cat/1.png"
    same = corrections.overlay(ROWS, CLASSES, [by_id, Correction("", "cat/1.png", "dog")])
    assert same.label.tolist() == [1, 0, 1]


def test_classes_and_paths_with_blanks_around_them_are_found(tmp_path: Path, workspace: Workspace) -> None:
    """Those of the dataset count before blanks are taken off: "dog" and "dog " are two classes."""
    root = photos(tmp_path / "animals", {" cat": 6, "dog": 6, "dog ": 6})
    rows = {" cat/000.png": "dog ", "dog /001.png": "dog", " dog/002.png ": " cat", "dog/003.png": "  dog "}
    path = write_csv(tmp_path, "path,label\n" + "".join(f"{name},{label}\n" for name, label in rows.items()))
    raw = acquire.acquire(SourceSettings(str(root), corrections=path), workspace)
    reader = factory.open_raw(raw)
    index = reader.index()
    labels = dict(zip(index.path.to_pylist(), index.label.tolist(), strict=True))
    corrected = {name: reader.classes[labels[name]] for name in (*rows, "dog/002.png") if name in labels}
    assert corrected == {
        " cat/000.png": "dog ",
        "dog /001.png": "dog",
        "dog/002.png": " cat",
        "dog/003.png": "dog",
    }


def test_absolute_paths_and_paths_of_windows_are_those_of_the_listing(tmp_path: Path, workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 6, "dog": 6})
    (tmp_path / "link").symlink_to(root)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))[:2]
    forms = (
        lambda name: name,
        lambda name: str(root / name),
        lambda name: str(tmp_path / "link" / name),
        lambda name: name.replace("/", "\\"),
        lambda name: f"./{name}",
    )
    found = set()
    for source in (root, tmp_path / "link"):
        for form in forms:
            path = write_csv(tmp_path, "path,label\n" + "".join(f"{form(name)},dog\n" for name in names))
            raw = acquire.acquire(SourceSettings(str(source), name="animals", corrections=path), workspace)
            found.add(raw.manifest["ingredients"]["inputs"]["corrections"])
    assert len(found) == 1
    path = write_csv(tmp_path, f"path,label\n{names[0]},dog\n{root / names[0]},dog\n")
    with pytest.raises(UsageError, match="name an image twice"):
        acquire.acquire(SourceSettings(str(root), name="animals", corrections=path), workspace)


def test_an_absolute_path_outside_of_the_dataset_is_refused(tmp_path: Path, workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 6, "dog": 6})
    outside = tmp_path / "others" / "cat" / "0000.png"
    path = write_csv(tmp_path, f"path,label\n{outside},dog\n")
    with pytest.raises(DataError, match="do not match") as refused:
        acquire.acquire(SourceSettings(str(root), corrections=path), workspace)
    assert refused.value.parts["found"] == f"1 image that does not exist: {outside}"
    assert "has to lie in the dataset's folder" in refused.value.parts["to do"]


def test_corrections_that_do_not_match_are_refused_before_anything_is_written(
    tmp_path: Path, workspace: Workspace
) -> None:
    """A dry run took them, and the run after it failed with 'nothing was written' beside a new listing."""
    folder = photos(tmp_path / "animals", {"cat": 6, "dog": 6})
    acquire.acquire(SourceSettings(str(folder)), workspace)
    before = files_below(workspace.root)
    path = write_csv(tmp_path, "path,label\ncat/none.png,dog\n")
    with pytest.raises(DataError, match="the corrections do not match the dataset"):
        acquire.acquire(SourceSettings(str(folder), corrections=path), workspace)
    assert files_below(workspace.root) == before


def test_acquire_corrections_change_the_digest_and_the_labels(tmp_path: Path, workspace) -> None:
    """Two of the bundled digits get another label; the source and all other labels are unchanged."""
    plain = acquire.acquire(SourceSettings("digits"), workspace)
    before = normalize.normalize(plain, NormalizeSettings(), workspace)
    rows = pd.read_parquet(before.directory / "rows.parquet")
    corrected_rows = rows.iloc[[3, 700]]
    path = write_csv(tmp_path, "id,label\n")
    assert acquire.acquire(SourceSettings("digits", corrections=path), workspace) == plain
    corrected_rows[["image_id"]].assign(label=["7", "8"]).to_csv(path, index=False)

    corrected = acquire.acquire(SourceSettings("digits", corrections=path), workspace)
    assert corrected.digest != plain.digest
    path.unlink()  # a copy of the corrections is beside the listing
    after = normalize.normalize(corrected, NormalizeSettings(), workspace)
    assert after.digest != before.digest
    new_rows = pd.read_parquet(after.directory / "rows.parquet")
    assert list(new_rows["image_id"]) == list(rows["image_id"])
    assert list(new_rows.iloc[[3, 700]]["class_name"]) == ["7", "8"]
    others = ~rows["image_id"].isin(corrected_rows["image_id"])
    assert (new_rows["label"] == rows["label"])[others].all()
    row = corrected_rows.iloc[0]
    assert np.load(after.directory / f"{row['split']}.labels.npy")[row["row"]] == 7


def test_images_that_are_left_out_are_in_no_split_and_move_no_other_image(
    tmp_path: Path, workspace: Workspace
) -> None:
    folder = photos(tmp_path / "animals", {"cat": 12, "dog": 12})
    settings = NormalizeSettings()
    plain = normalize.normalize(acquire.acquire(SourceSettings(str(folder)), workspace), settings, workspace)
    rows = pd.read_parquet(plain.directory / "rows.parquet")
    train = rows[rows["split"] == "train"]
    first, second = train["path"].iloc[:2]
    path = write_csv(tmp_path, f"path,corrected_class_name,decision\n{first},,left out\n{second},dog,\n")

    raw = acquire.acquire(SourceSettings(str(folder), corrections=path), workspace)
    assert (raw.manifest["facts"]["corrections"], raw.manifest["facts"]["left_out"]) == (1, 1)
    after = normalize.normalize(raw, settings, workspace)
    new_rows = pd.read_parquet(after.directory / "rows.parquet")
    assert set(rows["path"]) - set(new_rows["path"]) == {first}
    assert after.quarantined == 0
    joined = rows.merge(new_rows, on="path", suffixes=("", "_after"))
    assert (joined["split"] == joined["split_after"]).all()
    assert joined.set_index("path")["class_name_after"][second] == "dog"
    for split in ("train", "val", "test"):
        images, images_after = (
            np.load(tensors.directory / f"{split}.images.npy") for tensors in (plain, after)
        )
        pairs = joined[joined["split"] == split]
        np.testing.assert_array_equal(images[pairs["row"]], images_after[pairs["row_after"]])
        assert (
            np.load(after.directory / f"{split}.labels.npy") == new_rows[new_rows["split"] == split]["label"]
        ).all()


def test_groups_and_attributes_stay_when_an_image_is_left_out(tmp_path: Path, workspace: Workspace) -> None:
    """One image that was left out in a review took all groups away, so that the splits parted them."""
    paths = sorted(photos(tmp_path, {"cat": 20, "dog": 20}).rglob("*.png"))
    lines = [
        f"{path.relative_to(tmp_path)},{path.parent.name},p{number // 2},{'AB'[number % 2]}"
        for number, path in enumerate(paths)
    ]
    put(tmp_path / "labels.csv", "\n".join(["path,label,group,site", *lines]).encode())
    left_out = write_csv(tmp_path, "path,corrected_class_name,decision\ncat/000.png,,left out\n")
    raw = acquire.acquire(SourceSettings(str(tmp_path / "labels.csv"), corrections=left_out), workspace)
    index = factory.open_raw(raw).index()
    assert index.group is not None
    assert index.group.to_pylist() == [f"p{number // 2}" for number in range(1, 40)]
    assert index.attributes["attribute_site"].to_pylist()[:3] == ["B", "A", "B"]


def test_files_are_those_of_the_images_that_stay(tmp_path: Path, workspace: Workspace) -> None:
    """`--group-by time-gap` read the time of the image before, from the first one on that was left out."""
    folder = photos(tmp_path / "animals", {"cat": 4, "dog": 4})
    path = write_csv(
        tmp_path, "path,corrected_class_name,decision\ncat/001.png,,left out\ndog/000.png,,left out\n"
    )
    reader = factory.open_raw(acquire.acquire(SourceSettings(str(folder), corrections=path), workspace))
    paths = reader.index().path.to_pylist()
    assert len(paths) == 6
    for file, name in zip(reader.files([1, 3, 5]), (paths[n] for n in (1, 3, 5)), strict=True):
        assert file is not None
        with file:
            assert file.read() == (folder / name).read_bytes()


def test_wrapped_readers_keep_what_the_source_says_of_itself(workspace: Workspace) -> None:
    """A published dataset stays one: none of its readable images is left out, whatever wraps its reader."""
    raw = acquire.acquire(SourceSettings("digits"), workspace)
    source = factory.open_raw(raw)
    distributed = DistributedReader(source, raw, iter, raw.directory, images=1)
    for reader in (RelabelledReader(source, ()), distributed):
        assert reader.published is source.published is True
        assert reader.shape == source.shape == (8, 8, 1)
        assert reader.classes == source.classes == tuple("0123456789")
        assert reader.index().label.tolist() == source.index().label.tolist()


def test_wrapped_readers_of_small_files_take_them_in_any_order_unless_distributed(
    tmp_path: Path, workspace: Workspace
) -> None:
    raw = acquire.acquire(SourceSettings(str(photos(tmp_path / "animals", {"cat": 5, "dog": 5}))), workspace)
    source = factory.open_raw(raw)
    assert RelabelledReader(source, ()).random_access is source.random_access is True
    # Portions are read in the order of their paths.
    assert DistributedReader(source, raw, iter, raw.directory, images=1).random_access is False


def test_file_that_corrects_nothing_is_named(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    raw = acquire.acquire(SourceSettings(str(photos(tmp_path / "pets", {"cat": 5, "dog": 5}))), workspace)
    path = write_csv(tmp_path, "path,class_name,corrected_class_name\ncat/0.png,cat,\n")
    assert corrections.apply_corrections(raw, path, workspace, factory.open_raw) == raw
    assert "corrects nothing" in caplog.text
