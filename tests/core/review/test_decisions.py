import csv
from pathlib import Path

import pytest

from tasks.core.data.readers import corrections_file
from tasks.core.data.readers.corrections_file import Correction
from tasks.core.errors import UsageError
from tasks.core.review import decisions
from tasks.core.review.decisions import COLUMNS, DecisionFiles, LabelDecision
from tasks.core.review.items import CONTROL, LABEL_NEXT, MISTAKE, Item

NAME = 'cat, "big" <b>$é'
ITEM = Item("aa", f"{NAME}/1.png", NAME, (MISTAKE, "label issue"), "test", 3)
OTHER = Item("bb", "dog/2.png", "dog", (CONTROL,), "test", 4)
NEXT = Item("", "/new/5.png", "", (LABEL_NEXT,))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_decisions_are_a_file_of_corrections(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "corrections.csv")
    files.decide(ITEM, LabelDecision.corrected, "dog", "ann")
    files.decide(OTHER, LabelDecision.kept, "", "ann")
    files.decide(Item("cc", "dog/3.png", "dog", (MISTAKE,)), LabelDecision.left_out, "", "ann")
    assert corrections_file.read(files.path) == (Correction("aa", "", "dog"), Correction("cc", "", ""))
    first, *_ = read_csv(files.path)
    assert tuple(first) == COLUMNS
    assert first["path"] == ITEM.path
    assert (first["class_name"], first["corrected_class_name"]) == (NAME, "dog")
    assert (first["decision"], first["list"], first["user"]) == ("corrected", "mistake; label issue", "ann")
    assert len(first["time"]) == len("2026-01-02T03:04:05Z")


def test_a_decision_replaces_the_one_before_and_can_be_forgotten(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "corrections.csv")
    files.decide(ITEM, LabelDecision.corrected, "dog", "ann")
    files.decide(ITEM, LabelDecision.kept, "", "bob")
    (row,) = files.rows()
    assert (row["decision"], row["corrected_class_name"], row["user"]) == ("kept", "", "bob")
    files.forget(ITEM)
    assert files.rows() == []


def test_a_class_with_blanks_around_it_stays_when_the_file_is_continued(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "corrections.csv")
    files.decide(ITEM, LabelDecision.corrected, " dog ", "ann")
    DecisionFiles(files.path).decide(OTHER, LabelDecision.kept, "", "ann")
    assert corrections_file.read(files.path) == (Correction("aa", "", " dog "),)


def test_images_with_a_decision_are_decided_and_rows_of_a_form_are_not(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("image_id,path,class_name,suggested_class_name,corrected_class_name\naa,a,cat,dog,\n")
    files = DecisionFiles(path)
    assert not files.is_decided(ITEM)
    files.decide(ITEM, LabelDecision.kept, "", "ann")
    assert DecisionFiles(path).is_decided(ITEM)
    assert DecisionFiles(path).rows()[0]["decision"] == "kept"


def test_a_file_made_by_hand_is_continued_with_its_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("path,label,note\ncat/9.png,dog,blurred\n")
    DecisionFiles(path).decide(OTHER, LabelDecision.corrected, "cat", "ann")
    read = corrections_file.read(path)
    assert read == (Correction("", "cat/9.png", "dog"), Correction("bb", "", "cat"))
    assert read_csv(path)[0]["note"] == "blurred"


def test_a_new_file_begins_with_the_corrections_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "corrections.csv").write_text(
        "image_id,path,class_name,decision\nzz,,dog,\nyy,,,left out\n"
    )
    earlier = decisions.earlier_rows(tmp_path / "raw")
    files = DecisionFiles(tmp_path / "new.csv", earlier)
    files.decide(OTHER, LabelDecision.kept, "", "ann")
    assert corrections_file.read(files.path) == (Correction("zz", "", "dog"), Correction("yy", "", ""))
    assert [row["decision"] for row in files.rows()] == ["corrected", "left out", "kept"]


def test_new_labels_are_a_csv_of_path_and_label(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "corrections.csv")
    files.decide(NEXT, LabelDecision.labelled, "dog", "ann")
    assert not files.path.exists()
    (row,) = read_csv(tmp_path / "new_labels.csv")
    assert (row["path"], row["label"], row["list"]) == ("/new/5.png", "dog", "label next")
    assert DecisionFiles(files.path).is_decided(NEXT)
    files.forget(NEXT)
    assert files.count_new_labels() == 0


def test_a_file_that_decisions_cannot_go_to_is_refused_before_the_review(fake, tmp_path: Path) -> None:
    tensors = fake.tensors()
    for path in (tmp_path, tmp_path / "nowhere" / "corrections.csv"):
        with pytest.raises(UsageError, match="cannot be written"):
            DecisionFiles(path).check(tensors, "digits")
    path = tmp_path / "corrections.csv"
    path.write_text("path,label\nphotos/of/another.png,dog\n")
    with pytest.raises(UsageError, match="is about other images"):
        DecisionFiles(path).check(tensors, "digits")
    path.write_text("path,label\nphotos/of/another.png,dog\ntest/3.png,bee\n")
    DecisionFiles(path).check(tensors, "digits")
    path.write_text("path,image_id,class\nx,y,z\n")
    with pytest.raises(UsageError, match="other columns"):
        DecisionFiles(path).check(tensors, "digits")


def test_controls_give_the_share_of_wrong_labels_with_its_interval() -> None:
    """1 of 10: Wilson's interval is 1.79 to 40.42 % (scipy.stats.binomtest(1, 10).proportion_ci)."""
    rows = [{"list": CONTROL, "decision": "kept"}] * 9 + [{"list": CONTROL, "decision": "corrected"}]
    rows += [{"list": MISTAKE, "decision": "corrected"}] * 5
    text = decisions.controls_text(rows)
    assert "1 of 10 random images" in text
    assert "95 % interval 1.79 to 40.42" in text
    assert decisions.controls_text(rows[-5:]) == ""


def test_csv_of_the_dataset_is_not_written_to(fake, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,label\n1.png,cat\n")
    with pytest.raises(UsageError, match="is the dataset itself"):
        DecisionFiles(path).check(fake.tensors(), str(path))
