"""The effect of leaking test images on the accuracy, and the pairs in the report."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from tasks.core.data.audit import duplicate_table
from tasks.core.evaluation import evaluate
from tasks.core.evaluation.evaluate import Scored
from tasks.core.reports import content as content_module
from tasks.core.reports.sections import leaks
from tests.core.reports.test_report import html, inputs


def scored(outcomes: list[bool]) -> Scored:
    """Two classes; the label is always 1, and the prediction is correct or wrong as given."""
    probabilities = np.array([[0.2, 0.8] if correct else [0.8, 0.2] for correct in outcomes], np.float32)
    return Scored(np.ones(len(outcomes), np.int32), probabilities)


def test_leak_accuracies_small_example_matches_hand_computation() -> None:
    """Computed by hand: 6 of 10 are correct, all four leaking images among them, so 2 of 6 without leaks."""
    outcomes = [True] * 4 + [True, True, False, False, False, False]
    rows = leaks.leak_accuracies(scored(outcomes), np.arange(10) < 4)
    assert [(row["images"], row["accuracy"]) for row in rows] == [
        (10, 0.6),
        (6, pytest.approx(1 / 3)),
        (4, 1),
    ]
    for row in rows:
        hits = round(row["accuracy"] * row["images"])
        expected = binomtest(hits, row["images"]).proportion_ci(method="exact")
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("leaking", [False, True])
def test_leak_accuracies_no_or_all_leaks_give_no_rows(leaking: bool) -> None:
    assert leaks.leak_accuracies(scored([True, False]), np.full(2, leaking)) == []


def test_leak_pairs_have_pictures_and_labels(fake) -> None:
    audit, tensors = fake.audit(), fake.tensors()
    pairs = leaks.leak_pairs(audit, tensors)
    assert len(pairs) == duplicate_table.read(audit).num_rows == 2
    labels = [fake.classes[fake.labels("val")[row]] for row in (0, 1)]
    assert {tuple(pair["splits"]): pair["labels"] for pair in pairs}[("val", "val")] == labels
    assert all(picture.startswith("data:image/png;base64,") for pair in pairs for picture in pair["pictures"])


def test_leak_pairs_different_labels_come_first_then_test(fake) -> None:
    pairs = leaks.leak_pairs(fake.audit(), fake.tensors())
    keys = [(pair["labels"][0] == pair["labels"][1], "test" not in pair["splits"]) for pair in pairs]
    assert keys == sorted(keys)
    assert len(leaks.leak_pairs(fake.audit(), fake.tensors(), count=1)) == 1


@pytest.mark.slow
def test_report_leaks_show_both_accuracies(fake) -> None:
    report_inputs = inputs(fake)
    content = content_module.content(report_inputs)
    assert [row["images"] for row in content["leaks"]] == [400, 399, 1]
    assert content["leaks"][0]["accuracy"] == report_inputs.evaluation.accuracy
    text = html(fake, report_inputs)
    assert "without those that leak" in text
    assert "--drop-leaks" in text
    assert text.count('<img src="data:image/png;base64,') >= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leaking", "text"),
    [
        (400, "400 of 400 test images have a duplicate in train or val: how good the model is"),
        (201, "201 of 400 test images have a duplicate in train or val, so that the accuracy is mostly that"),
        (399, "399 of 400 test images have a duplicate in train or val, and the others alone do not prove"),
        (200, ""),
    ],
)
def test_verdict_of_test_images_that_leak_is_not_good(fake, leaking: int, text: str) -> None:
    report_inputs = inputs(fake)
    np.save(duplicate_table.leaks_path(report_inputs.audit, "test"), np.arange(400) < leaking)
    assert leaks.unproven(report_inputs).startswith(text)
    assert bool(leaks.unproven(report_inputs)) == bool(text)
    if leaking == 201:
        scored = evaluate.scored_of(report_inputs.evaluation, report_inputs.tensors, "test")
        correct = (scored.predicted == scored.labels)[201:]
        assert f"that of the 199 others is {correct.mean() * 100:.2f} %" in leaks.unproven(report_inputs)
    page = html(fake, report_inputs)
    assert f'<section class="verdict {"hold" if text else "good"}">' in page
    assert text in page


@pytest.mark.slow
def test_champion_trained_with_duplicates_of_test_images_is_named(fake) -> None:
    """The new model was trained without them, and the comparison favours the champion."""
    champion = inputs(fake)
    challenger = inputs(fake, "two", skill=1.0, champion=champion.evaluation)
    assert leaks.unproven(challenger) == ""
    dropped = replace(challenger, trained=fake.trained("two", drop_leaks=True))
    text = "champion v0001 was trained with duplicates of 1 of these test images, which favours it"
    assert leaks.unproven(dropped).startswith(text)
