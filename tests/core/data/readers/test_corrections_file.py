"""Files of corrections: what is read, and what is refused."""

from pathlib import Path

import pytest

from tasks.core.data.readers import corrections_file
from tasks.core.data.readers.corrections_file import Correction
from tasks.core.errors import UsageError


def write_csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_read_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert corrections_file.read(write_csv(tmp_path, "\ufefflabel,path\r\ndog,cat/2.png\r\n")) == (
        Correction("", "cat/2.png", "dog"),
    )


def test_digest_ignores_order_and_other_columns(tmp_path: Path) -> None:
    one = corrections_file.read(write_csv(tmp_path, "id,label,note\naa,dog,sure\nbb,dog,\n"))
    two = corrections_file.read(write_csv(tmp_path, "label,id\ndog,bb\ndog,aa\n"))
    other = corrections_file.read(write_csv(tmp_path, "label,id\ndog,bb\ncat,aa\n"))
    assert corrections_file.digest(one) == corrections_file.digest(two) != corrections_file.digest(other)


def test_who_when_and_labels_that_were_kept_do_not_change_the_digest(tmp_path: Path) -> None:
    header = "image_id,path,class_name,corrected_class_name,decision,list,user,time\n"
    one = write_csv(tmp_path, header + "aa,cat/1.png,cat,dog,corrected,mistake,ann,2026-01-02T03:04:05Z\n")
    digests = {corrections_file.digest(corrections_file.read(one))}
    other = header + "bb,cat/2.png,cat,,kept,control,bob,2026-01-02T03:04:07Z\n"
    other += "aa,cat/1.png,cat,dog,corrected,label issue,bob,2026-05-06T07:08:09Z\n"
    digests.add(corrections_file.digest(corrections_file.read(write_csv(tmp_path, other))))
    assert digests == {corrections_file.digest([Correction("aa", "", "dog")])}


def test_read_image_that_is_left_out_has_no_class(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "image_id,corrected_class_name,decision\naa,,left out\nbb,,kept\n")
    read = corrections_file.read(path)
    assert read == (Correction("aa", "", ""),)


def test_read_file_without_rows_is_empty(tmp_path: Path) -> None:
    assert corrections_file.read(write_csv(tmp_path, "id,label\n")) == ()
    assert corrections_file.read(write_csv(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,class\naa,dog\n", "other columns"),
        ("label\ndog\n", "other columns"),
        pytest.param("cat/1.png,dog\n", "other columns", id="no header"),
        ("id,label\naa,dog\naa,cat\n", "name an image twice"),
        ("id,label,decision\naa,dog,left out\n", "give a class to an image that is left out"),
    ],
)
def test_read_invalid_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        corrections_file.read(write_csv(tmp_path, text))


def test_read_file_with_a_huge_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        corrections_file.read(write_csv(tmp_path, "path,class_name\ncat/1.png," + "x" * 200_000))


def test_read_missing_file_raises_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.csv cannot be read"):
        corrections_file.read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_read_takes_what_spreadsheets_save(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "corrections.csv"
    lines = ("Path", "Corrected_Class_Name", "Decision"), ("a.png", "Käfer", ""), ("b.png", "", "Left Out")
    path.write_text("\r\n".join(map(separator.join, lines)), encoding=encoding)
    assert corrections_file.read(path) == (Correction("", "a.png", "Käfer"), Correction("", "b.png", ""))


def test_rows_that_are_left_out_need_no_column_of_classes(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "path,decision\na.png,left out\n")
    assert corrections_file.read(path) == (Correction("", "a.png", ""),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param("a.png,dog, big,", "line 2, has more fields", id="comma without quotes"),
        pytest.param("a.png,,removed", "line 2, has an unknown decision", id="decision"),
        pytest.param(",dog,", "line 2, names no image", id="no image"),
    ],
)
def test_rows_that_would_be_ignored_are_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        corrections_file.read(write_csv(tmp_path, f"path,class_name,decision\n{row}\n"))


def test_a_quote_that_is_not_closed_does_not_swallow_the_rows_behind_it(tmp_path: Path) -> None:
    path = write_csv(tmp_path, 'path,class_name,user\na.png,cat,"Anna\nb.png,dog,Ben\n')
    with pytest.raises(UsageError, match="line 2: unexpected end of data"):
        corrections_file.read(path)
