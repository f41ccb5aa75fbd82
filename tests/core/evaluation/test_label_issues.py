import numpy as np
import pandas as pd
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues

from tasks.core.data.readers import corrections
from tasks.core.evaluation import label_issues
from tasks.core.metrics import confident_learning
from tests.support.fake_outputs import blurred


def noisy(images: int, classes: int, share: float, seed: int):
    """Labels of which a share is wrong, which ones, and probabilities of a model that knows better."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, images)
    wrong = generator.random(images) < share
    labels = np.where(wrong, (truth + generator.integers(1, classes, images)) % classes, truth)
    return labels, wrong, blurred(truth, classes, 4.0, seed)


@pytest.mark.parametrize(("classes", "share", "seed"), [(2, 0.1, 0), (5, 0.02, 1), (10, 0.2, 2)])
def test_the_joint_is_cleanlabs(classes: int, share: float, seed: int) -> None:
    labels, _, probabilities = noisy(2000, classes, share, seed)
    theirs = compute_confident_joint(labels, probabilities.astype(float), calibrate=False)
    np.testing.assert_array_equal(confident_learning.confident_joint(labels, probabilities), theirs)


@pytest.mark.parametrize(("classes", "share", "seed"), [(2, 0.1, 0), (5, 0.02, 1), (10, 0.2, 2)])
def test_the_rows_are_cleanlabs_but_for_its_rounding(classes: int, share: float, seed: int) -> None:
    """cleanlab rounds the calibrated joint's cells, this rounds its rows' sums: C - 1 a class at most."""
    labels, _, probabilities = noisy(2000, classes, share, seed)
    ours = confident_learning.find_issues(labels, probabilities)
    theirs = find_label_issues(
        labels, probabilities.astype(float), filter_by="prune_by_class",
        return_indices_ranked_by="self_confidence", n_jobs=1,
    )  # fmt: skip
    assert len(ours) > 20
    assert len({*ours} ^ {*theirs}) <= classes * (classes - 1)
    assert len({*ours} & {*theirs}) > 0.8 * len(ours)


def test_flipped_labels_come_first() -> None:
    labels, wrong, probabilities = noisy(5000, 7, 0.02, 3)
    rows = confident_learning.find_issues(labels, probabilities)
    first = rows[: wrong.sum() // 2]
    assert wrong[first].mean() > 0.9
    assert wrong[rows].sum() > 0.9 * wrong.sum()


def test_a_hand_made_case() -> None:
    """Three of label 0 get 0.9, 0.8 and 0.1 for it, so 0.6 is the threshold; of 1: 0.9 and 0.7, so 0.8.

    The third image reaches 0.9 of class 1: one of three labels 0 is doubtful. The fifth reaches no threshold.
    """
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.3, 0.7]])
    assert confident_learning.confident_joint(labels, probabilities).tolist() == [[2, 1], [0, 1]]
    assert confident_learning.find_issues(labels, probabilities).tolist() == [2]


def test_an_absent_class_is_never_suggested_and_a_perfect_model_doubts_nothing() -> None:
    labels = np.array([0, 0, 2, 2])
    probabilities = np.array([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [0, 0.45, 0.55], [0, 0.55, 0.45]])
    assert confident_learning.confident_joint(labels, probabilities)[:, 1].sum() == 0
    assert confident_learning.find_issues(labels, np.eye(3)[labels]).tolist() == []


def test_the_stage_writes_a_ranked_table_and_a_form(fake) -> None:
    made = label_issues.find_label_issues(fake.evaluation("one", 1.5), fake.tensors(), None, fake.workspace)
    table = label_issues.read_label_issues(made)
    assert made.counts == {split: int((table["split"] == split).sum()) for split in ("test", "val")}
    assert len(table) > 10
    assert table["probability"].is_monotonic_increasing
    assert (table["class_name"] != table["suggested_class_name"]).all()
    assert (table["path"] == table["split"] + "/" + table["row"].astype(str) + ".png").all()
    labels = fake.labels("test")
    test = table[table["split"] == "test"]
    assert (labels[test["row"]] == test["label"]).all()
    assert (
        label_issues.find_label_issues(fake.evaluation("one", 1.5), fake.tensors(), None, fake.workspace)
        == made
    )


def test_a_filled_in_form_is_corrections(fake) -> None:
    made = label_issues.find_label_issues(fake.evaluation("one", 3.0), fake.tensors(), None, fake.workspace)
    form = made.directory / "label_issues.csv"
    assert corrections.read(form) == ()
    table = pd.read_csv(form, dtype=str)
    table.loc[:1, "corrected_class_name"] = table.loc[:1, "suggested_class_name"]
    table.to_csv(fake.workspace.root / "mine.csv", index=False)
    found = corrections.read(fake.workspace.root / "mine.csv")
    assert [each.image_id for each in found] == list(table["image_id"][:2])
    assert [each.class_name for each in found] == list(table["suggested_class_name"][:2])
