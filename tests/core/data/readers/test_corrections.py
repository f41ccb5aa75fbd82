from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers import corrections
from tasks.core.data.readers.base import ImageIndex, ImageRef
from tasks.core.data.readers.corrections import Correction
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.errors import DataError, UsageError

ROWS = ImageIndex.of(
    [
        ImageRef("aa", "cat/1.png", "", 0),
        ImageRef("bb", "cat/2.png", "", 0),
        ImageRef("aa", "dog/1.png", "", 1),
    ]
)
CLASSES = ("cat", "dog")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_and_paths_name_images_and_rows_without_a_label_dont_count(tmp_path: Path) -> None:
    path = written(tmp_path, "id,path,given,label\naa,cat/1.png,cat,dog\n,cat/2.png,cat, dog \nbb,,cat,\n")
    found = corrections.read(path)
    assert found == (Correction("aa", "", "dog"), Correction("", "cat/2.png", "dog"))
    assert corrections.overlay(ROWS, CLASSES, found).label.tolist() == [1, 1, 1]
    assert ROWS.label.tolist() == [0, 0, 1]


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert corrections.read(written(tmp_path, "\ufefflabel,path\r\ndog,cat/2.png\r\n")) == (
        Correction("", "cat/2.png", "dog"),
    )


def test_order_and_other_columns_dont_change_the_digest(tmp_path: Path) -> None:
    one = corrections.read(written(tmp_path, "id,label,note\naa,dog,sure\nbb,dog,\n"))
    two = corrections.read(written(tmp_path, "label,id\ndog,bb\ndog,aa\n"))
    other = corrections.read(written(tmp_path, "label,id\ndog,bb\ncat,aa\n"))
    assert corrections.digest(one) == corrections.digest(two) != corrections.digest(other)


def test_a_file_without_rows_corrects_nothing(tmp_path: Path) -> None:
    assert corrections.read(written(tmp_path, "id,label\n")) == ()
    assert corrections.read(written(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,class\naa,dog\n", "other columns"),
        ("label\ndog\n", "other columns"),
        ("id,label\naa,dog\naa,cat\n", "name an image twice"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        corrections.read(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.csv cannot be read"):
        corrections.read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("correction", "words"),
    [
        (Correction("cc", "", "dog"), "1 images that aren't there: cc"),
        (Correction("", "cat/9.png", "dog"), "1 images that aren't there: cat/9.png"),
        (Correction("aa", "", "eel"), "no class eel"),
    ],
)
def test_what_fits_no_image_or_class_is_refused(correction: Correction, words: str) -> None:
    with pytest.raises(DataError) as caught:
        corrections.overlay(ROWS, CLASSES, [correction])
    assert words in caught.value.parts["found"]


def test_corrections_are_part_of_the_datas_digest_and_reach_the_labels(tmp_path: Path, workspace) -> None:
    """Two of the bundled digits get another label; the source, and all other labels, stay."""
    plain = acquire.acquire(SourceSettings("digits"), workspace)
    before = normalize.normalize(plain, NormalizeSettings(), workspace)
    rows = pd.read_parquet(before.directory / "rows.parquet")
    wrong = rows.iloc[[3, 700]]
    path = written(tmp_path, "id,label\n")
    assert acquire.acquire(SourceSettings("digits", corrections=path), workspace) == plain
    wrong[["image_id"]].assign(label=["7", "8"]).to_csv(path, index=False)

    corrected = acquire.acquire(SourceSettings("digits", corrections=path), workspace)
    assert corrected.digest != plain.digest
    path.unlink()  # what was read lies beside the listing
    after = normalize.normalize(corrected, NormalizeSettings(), workspace)
    assert after.digest != before.digest
    now = pd.read_parquet(after.directory / "rows.parquet")
    assert list(now["image_id"]) == list(rows["image_id"])
    assert list(now.iloc[[3, 700]]["class_name"]) == ["7", "8"]
    others = ~rows["image_id"].isin(wrong["image_id"])
    assert (now["label"] == rows["label"])[others].all()
    row = wrong.iloc[0]
    assert np.load(after.directory / f"{row['split']}.labels.npy")[row["row"]] == 7
