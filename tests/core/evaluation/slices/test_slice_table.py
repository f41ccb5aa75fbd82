"""The table of slices from the columns of the data; expected values by hand, scipy or simulation."""

import numpy as np
import pytest

from tasks.core.errors import UsageError
from tasks.core.evaluation import evaluate
from tasks.core.evaluation.slices import slice_table, values
from tasks.core.evaluation.slices.values import attribute
from tasks.core.runs import record, tables

CLASSES = ["ant", "bee"]


def table_of(correct, labels, groups=None, **columns):
    found = {name: attribute(name, column) for name, column in columns.items()}
    return slice_table.slice_table(correct, labels, groups, found, CLASSES)


def test_slice_table_has_images_accuracy_and_recalls_worst_first() -> None:
    labels = np.tile([0, 1], 50)
    site = ["A"] * 60 + ["B"] * 36 + ["C"] * 2 + [None] * 2
    correct = np.array([name != "B" or number % 3 == 0 for number, name in enumerate(site)])
    table = table_of(correct, labels, site=site)
    whole = slice_table.of_all_classes(table)
    assert whole["value"].tolist() == ["B", "A"]  # C has fewer than five images
    worst = whole.iloc[0]
    assert (worst["images"], worst["accuracy"], worst["rest_accuracy"]) == (36, pytest.approx(1 / 3), 1)
    assert (worst["accuracy_low"], worst["accuracy_high"]) == pytest.approx((0.2022, 0.4965), abs=2e-4)
    assert worst["p_adjusted"] == pytest.approx(2 * worst["p_value"])  # Holm: of two slices
    bees = table[(table["value"] == "B") & (table["class_name"] == "bee")].iloc[0]
    assert (bees["images"], bees["accuracy"]) == (18, correct[60:96][labels[60:96] == 1].mean())
    assert slice_table.worse(table)["value"].tolist() == ["B"]
    assert slice_table.sentence(table) == (
        "Worse than the rest beyond chance, corrected for looking at 2 slices: "
        "site=B (33.33 %, 36 images; the rest 100.00 % at the same class shares)"
    )


def test_slice_table_of_groups_is_as_uncertain_as_they_are() -> None:
    """Six patients of ten images at each of two sites: four of the twelve are wrong throughout."""
    groups = np.repeat(np.arange(12), 10)
    correct = ~np.isin(groups, [0, 1, 2, 7])
    site = ["A" if group < 6 else "B" for group in groups]
    alone = table_of(correct, np.zeros(120, int), site=site)
    together = table_of(correct, np.zeros(120, int), groups, site=site)
    assert slice_table.worse(alone)["value"].tolist() == ["A"]
    assert len(slice_table.worse(together)) == 0
    row = slice_table.of_all_classes(together).iloc[0]
    assert (row["value"], row["images"], row["groups"], row["accuracy"]) == ("A", 60, 6, 0.5)
    assert row["accuracy_high"] - row["accuracy_low"] > 0.6
    assert slice_table.sentence(together).startswith("No slice is worse than the rest beyond chance")


def test_shuffled_labels_of_one_site_are_found_among_40_slices() -> None:
    for seed in range(10):
        generator = np.random.default_rng(seed)
        sizes = {"site": 8, "camera": 20, "season": 4, "device": 6, "side": 2}
        columns = {name: [str(code) for code in generator.integers(0, n, 400)] for name, n in sizes.items()}
        labels = generator.integers(0, 2, 400)
        correct = generator.random(400) < 0.9
        assert len(slice_table.worse(table_of(correct, labels, **columns))) == 0, seed
        bad = np.array(columns["site"]) == "3"
        shuffled = np.where(bad, generator.random(400) < 0.5, correct)
        found = slice_table.worse(table_of(shuffled, labels, **columns))
        assert ("site", "3") in zip(found["attribute"], found["value"], strict=True), seed


def test_attribute_many_numbers_become_ranges() -> None:
    ages = [str(age) for age in range(1, 101)]
    found = attribute("age", [*ages, None])
    assert found.values == ("1 to 20", "21 to 40", "41 to 60", "61 to 80", "81 to 100")
    assert np.bincount(found.codes[:-1]).tolist() == [20] * 5
    assert found.codes[-1] == -1
    assert attribute("stage", ["10", "9", "2"] * 20).values == ("2", "9", "10")
    codes = attribute("ward", [f"{number:03d}" for number in range(100)])  # codes are no numbers
    assert len(codes.values) == 100


def test_evaluation_has_slices_only_with_columns(fake) -> None:
    evaluation = fake.with_fields(classes=tuple(CLASSES)).evaluation("one", skill=2.0)
    assert len(slice_table.read_slices(evaluation)) == 0
    assert not (evaluation.directory / slice_table.SLICES).exists()
    assert slice_table.sentence(slice_table.read_slices(evaluation)) == ""


def test_slices_reach_the_evaluation_and_the_metrics_table(fake) -> None:
    fake = fake.with_fields(sites=4, classes=tuple(CLASSES))
    evaluation, tensors = fake.evaluation("one", skill=2.0), fake.tensors()
    found = slice_table.of_all_classes(slice_table.read_slices(evaluation)).set_index("value")
    scored = evaluate.scored_of(evaluation, tensors, "test")
    correct = scored.predicted == scored.labels
    assert found["images"].to_dict() == {f"S{number}": 100 for number in range(4)}
    assert found["accuracy"].to_dict() == {f"S{number}": correct[number::4].mean() for number in range(4)}
    row = {"run_id": "r1", "recipe": "fast", "version": "v0001"}
    record.append_run(row, tensors, fake.trained("one"), evaluation, fake.workspace)
    table = tables.read("slices", fake.workspace, tensors.dataset)
    assert len(table) == 4 + 4 * len(fake.classes)
    assert set(table["evaluation"]) == {evaluation.digest}
    whole = table[table["class_name"].isna()].set_index("value")
    assert whole["accuracy"].to_dict() == found["accuracy"].to_dict()
    assert whole["groups"].isna().all()


def test_check_columns_unknown_column_raises(fake) -> None:
    tensors = fake.with_fields(sites=4).tensors()
    values.check_columns((), fake.tensors())
    values.check_columns(("site",), tensors)
    with pytest.raises(UsageError, match="--no-worse-in names a column") as raised:
        values.check_columns(("site", "ward"), tensors)
    assert (raised.value.parts["expected"], raised.value.parts["found"]) == ("one of site", "ward")
    with pytest.raises(UsageError, match="--no-worse-in") as raised:
        values.check_columns(("site",), fake.tensors())
    assert "these data have none" in raised.value.parts["expected"]
