import numpy as np
import pandas as pd
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues

from tasks.core.data.readers import corrections_file
from tasks.core.evaluation import label_issues
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics.labels import confident_learning
from tasks.core.stage.handles import LabelIssues
from tests.support.fake_outputs import blurred


def noisy_labels(images: int, classes: int, share: float, seed: int):
    """Labels of which a share is wrong, which ones are wrong, and probabilities that fit the true labels."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, images)
    wrong = generator.random(images) < share
    labels = np.where(wrong, (truth + generator.integers(1, classes, images)) % classes, truth)
    return labels, wrong, blurred(truth, classes, 4.0, seed)


@pytest.mark.parametrize(("classes", "share", "seed"), [(2, 0.1, 0), (5, 0.02, 1), (10, 0.2, 2)])
def test_confident_joint_matches_cleanlab(classes: int, share: float, seed: int) -> None:
    labels, _, probabilities = noisy_labels(2000, classes, share, seed)
    expected = compute_confident_joint(labels, probabilities.astype(float), calibrate=False)
    np.testing.assert_array_equal(confident_learning.confident_joint(labels, probabilities), expected)


@pytest.mark.parametrize(("classes", "share", "seed"), [(2, 0.1, 0), (5, 0.02, 1), (10, 0.2, 2)])
def test_find_issues_matches_cleanlab_up_to_rounding(classes: int, share: float, seed: int) -> None:
    """cleanlab rounds cells of the joint, this code sums of rows: at most C - 1 images per class differ."""
    labels, _, probabilities = noisy_labels(2000, classes, share, seed)
    rows = confident_learning.find_issues(labels, probabilities)
    expected = find_label_issues(
        labels, probabilities.astype(float), filter_by="prune_by_class",
        return_indices_ranked_by="self_confidence", n_jobs=1,
    )  # fmt: skip
    assert len(rows) > 20
    assert len({*rows} ^ {*expected}) <= classes * (classes - 1)
    assert len({*rows} & {*expected}) > 0.8 * len(rows)


def test_find_issues_ranks_flipped_labels_first() -> None:
    labels, wrong, probabilities = noisy_labels(5000, 7, 0.02, 3)
    rows = confident_learning.find_issues(labels, probabilities)
    first = rows[: wrong.sum() // 2]
    assert wrong[first].mean() > 0.9
    assert wrong[rows].sum() > 0.9 * wrong.sum()


def test_find_issues_small_example_matches_hand_computation() -> None:
    """The images with label 0 have 0.9, 0.8 and 0.1 for it: threshold 0.6. Label 1: 0.9 and 0.7, threshold
    0.8.

    The third image has 0.9 for class 1: one of three labels 0 is an issue. The fifth reaches no threshold.
    """
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.3, 0.7]])
    assert confident_learning.confident_joint(labels, probabilities).tolist() == [[2, 1], [0, 1]]
    assert confident_learning.find_issues(labels, probabilities).tolist() == [2]


def test_find_issues_absent_class_and_perfect_model_give_no_issue() -> None:
    labels = np.array([0, 0, 2, 2])
    probabilities = np.array([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [0, 0.45, 0.55], [0, 0.55, 0.45]])
    assert confident_learning.confident_joint(labels, probabilities)[:, 1].sum() == 0
    assert confident_learning.find_issues(labels, np.eye(3)[labels]).tolist() == []


def test_find_label_issues_writes_a_ranked_table(fake) -> None:
    issues = label_issues.find_label_issues(fake.evaluation("one", 1.5), fake.tensors(), None, fake.workspace)
    table = label_issues.read_label_issues(issues)
    assert issues.counts == {split: int((table["split"] == split).sum()) for split in ("test", "val")}
    assert len(table) > 10
    assert table["wrong_probability"].is_monotonic_decreasing
    assert issues.expected_wrong == pytest.approx(table["wrong_probability"].sum())
    assert (table["class_name"] != table["suggested_class_name"]).all()
    assert (table["path"] == table["split"] + "/" + table["row"].astype(str) + ".png").all()
    labels = fake.labels("test")
    test = table[table["split"] == "test"]
    assert (labels[test["row"]] == test["label"]).all()
    assert (
        label_issues.find_label_issues(fake.evaluation("one", 1.5), fake.tensors(), None, fake.workspace)
        == issues
    )


@pytest.mark.parametrize(
    ("expected", "ending"),
    [(7.4, "; about 7 of the 30 wrong"), (0.2, "; no more than the model's mistakes explain"), (None, "val")],
)
def test_label_issues_say_how_many_are_wrong(fake, expected: float | None, ending: str) -> None:
    issues = label_issues.find_label_issues(fake.evaluation("one", 1.5), fake.tensors(), None, fake.workspace)
    values = issues.as_dict() | {"counts": {"test": 10, "val": 20}, "expected_wrong": expected}
    assert str(LabelIssues.unchecked(**values)).endswith(ending)


def test_model_that_knows_nothing_does_not_say_how_many_labels_are_wrong(fake) -> None:
    evaluation = fake.evaluation("none", 0.0)
    issues = label_issues.find_label_issues(evaluation, fake.tensors(), None, fake.workspace)
    assert issues.expected_wrong is None
    assert str(issues).endswith("val")


def test_model_that_is_better_by_chance_does_not_say_how_many_labels_are_wrong() -> None:
    """The share of the right class varies by 0.1, more often upwards: the gain may be chance."""
    labels = np.arange(100) % 5 // 4  # 80 and 20
    of_label = np.where(labels, 0.2, 0.8) + np.where(np.arange(100) < 56, 0.15, -0.1)
    probabilities = np.where(np.eye(2)[labels] == 1, of_label[:, None], 1 - of_label[:, None])
    gain = np.log(of_label) - np.log(np.where(labels, 0.2, 0.8))
    assert 0 < gain.mean() < 2 * gain.std() / 10  # not proven
    scored = Scored(labels.astype(np.int32), probabilities.astype(np.float32))
    assert not label_issues._is_informed([scored])
    sure = np.where(np.eye(2)[labels] == 1, 0.9, 0.1).astype(np.float32)
    assert label_issues._is_informed([Scored(labels.astype(np.int32), sure)])


def test_few_images_of_a_class_do_not_say_how_many_labels_are_wrong(fake, monkeypatch) -> None:
    evaluation, tensors = fake.evaluation("one", 1.5), fake.tensors()
    images = tensors.val + tensors.test
    monkeypatch.setattr(label_issues, "FEWEST", images // len(tensors.classes) + 1)
    found = label_issues.find_label_issues(evaluation, tensors, None, fake.workspace)
    assert found.expected_wrong is None


def test_rows_in_doubt_are_the_least_likely_labels_where_no_noise_is_seen() -> None:
    labels, _, probabilities = noisy_labels(2000, 5, 0.02, 1)
    rows = label_issues.rows_in_doubt(labels, probabilities, np.zeros(len(labels)))
    assert rows.tolist() == confident_learning.find_issues(labels, probabilities)[:20].tolist()


def test_find_label_issues_filled_in_form_is_read_as_corrections(fake) -> None:
    issues = label_issues.find_label_issues(fake.evaluation("one", 3.0), fake.tensors(), None, fake.workspace)
    form = issues.directory / "label_issues.csv"
    assert corrections_file.read(form) == ()
    table = pd.read_csv(form, dtype=str)
    table.loc[:1, "corrected_class_name"] = table.loc[:1, "suggested_class_name"]
    table.to_csv(fake.workspace.root / "mine.csv", index=False)
    filled_in = corrections_file.read(fake.workspace.root / "mine.csv")
    assert [correction.image_id for correction in filled_in] == list(table["image_id"][:2])
    assert [correction.class_name for correction in filled_in] == list(table["suggested_class_name"][:2])
