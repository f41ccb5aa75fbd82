"""What leaking test images do to the accuracy, and the pairs that the report shows."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tasks.core.data.audit import duplicate_table
from tasks.core.evaluation.evaluate import Scored
from tasks.core.reports import content as content_module
from tasks.core.reports import leaks
from tests.core.reports.test_report import html, inputs


def scored(right: list[bool]) -> Scored:
    """Two classes; the label is always 1, and the prediction as told."""
    probabilities = np.array([[0.2, 0.8] if hit else [0.8, 0.2] for hit in right], np.float32)
    return Scored(np.ones(len(right), np.int32), probabilities)


def test_accuracy_with_and_without_leaks() -> None:
    """By hand: 6 of 10 right, of the four that leak all, hence 2 of 6 without them."""
    outcomes = [True] * 4 + [True, True, False, False, False, False]
    rows = leaks.leak_accuracies(scored(outcomes), np.arange(10) < 4)
    assert [(row["images"], row["accuracy"]) for row in rows] == [
        (10, 0.6),
        (6, pytest.approx(1 / 3)),
        (4, 1),
    ]
    for row in rows:
        hits = round(row["accuracy"] * row["images"])
        expected = binomtest(hits, row["images"]).proportion_ci(method="wilson")
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("leaking", [False, True])
def test_there_is_nothing_to_compare_if_none_leaks_or_all(leaking: bool) -> None:
    assert leaks.leak_accuracies(scored([True, False]), np.full(2, leaking)) == []


def test_the_pairs_are_shown_with_their_labels(fake) -> None:
    audit, tensors = fake.audit(), fake.tensors()
    shown = leaks.leak_pairs(audit, tensors)
    assert len(shown) == duplicate_table.read(audit).num_rows == 2
    named = [fake.classes[fake.labels("val")[row]] for row in (0, 1)]
    assert {tuple(pair["splits"]): pair["labels"] for pair in shown}[("val", "val")] == named
    assert all(picture.startswith("data:image/png;base64,") for pair in shown for picture in pair["pictures"])


def test_pairs_of_different_labels_come_first_then_those_with_test(fake) -> None:
    shown = leaks.leak_pairs(fake.audit(), fake.tensors())
    keys = [(pair["labels"][0] == pair["labels"][1], "test" not in pair["splits"]) for pair in shown]
    assert keys == sorted(keys)
    assert len(leaks.leak_pairs(fake.audit(), fake.tensors(), count=1)) == 1


def test_the_report_states_both_accuracies(fake) -> None:
    about = inputs(fake)
    content = content_module.content(about)
    assert [row["images"] for row in content["leaks"]] == [400, 399, 1]
    assert content["leaks"][0]["accuracy"] == about.evaluation.accuracy
    text = html(fake, about)
    assert "without those that leak" in text
    assert "--drop-leaks" in text
    assert text.count('<img src="data:image/png;base64,') >= 4
