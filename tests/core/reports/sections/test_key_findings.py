import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tasks.core import shares
from tasks.core.evaluation import evaluate
from tasks.core.metrics.comparison import detectable
from tasks.core.reports import content, report
from tasks.core.reports.render import render
from tasks.core.reports.sections import key_findings, next_steps
from tasks.core.reports.sections.next_steps import SHOWN
from tests.core.reports.test_report import inputs

CLASSES = [
    {"class_name": "ant", "support": 100, "recall": 0.5, "recall_low": 0.4, "recall_high": 0.6},
    {"class_name": "bee", "support": 100, "recall": 0.8, "recall_low": 0.7, "recall_high": 0.9},
    {"class_name": "cat", "support": 10, "recall": 0.2, "recall_low": 0.1, "recall_high": 0.5},
    {"class_name": "dog", "support": 190, "recall": 0.9, "recall_low": 0.8, "recall_high": 0.95},
]
LEAKS = [
    {"images": 400, "accuracy": 0.9, "accuracy_low": 0.87, "accuracy_high": 0.93},
    {"images": 300, "accuracy": 0.8, "accuracy_low": 0.75, "accuracy_high": 0.85},
    {"images": 100, "accuracy": 1.0, "accuracy_low": 0.96, "accuracy_high": 1.0},
]


@pytest.mark.slow
def test_first_paragraph_has_the_figures_of_the_evaluation(fake) -> None:
    first = inputs(fake)
    compared = inputs(fake, "two", skill=2.2, champion=first.evaluation)
    written = report.write_report(compared, fake.workspace)
    page = (written.directory / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    text = re.sub(r"\s+", " ", page)
    paired = compared.decision.evidence["paired"]
    assert f"predicts {compared.evaluation.accuracy * 100:.2f} % of 400 test images correctly" in text
    ends = f"{paired['low'] * 100:+.1f} to {paired['high'] * 100:+.1f}"
    assert f"champion v0001: a difference of {paired['difference'] * 100:+.1f} points" in text
    assert f"(95 % interval {ends}) on the same images" in text
    counts = evaluate.read_confusion(compared.evaluation)
    both = np.triu(counts + counts.T, 1)
    mistakes = int(counts.sum() - np.trace(counts))
    assert f"{both.max()} of {mistakes} mistakes" in text
    assert "Most worth doing now" in text
    assert "Mixed up most are" in report.read_summary(written)


def test_steps_are_ordered_by_the_test_images_at_stake(fake) -> None:
    """Leaks: 0.9 - 0.8 = 0.1 of all images; ant: (0.65 - 0.5) x 100 / 400 = 0.0375, above cat's 0.011."""
    steps = next_steps.next_steps(
        inputs(fake), CLASSES, LEAKS, detectable.Detectable(400, 400, 0.1, True, 0.03, 0.05)
    )
    assert [step.stake for step in steps] == pytest.approx([0.1, 0.0375])
    assert "--drop-leaks" in steps[0].command
    assert "images of ant" in steps[1].text
    assert steps[1].command == "plumbline predict NEW_IMAGES --dataset animals --label-next 100"


def test_test_set_that_proves_nothing_comes_first(fake) -> None:
    found = detectable.Detectable(5, 5, 0.3, True, None, None)
    steps = next_steps.next_steps(inputs(fake), CLASSES, LEAKS, found)
    assert "Add test images" in steps[0].text
    assert len(steps) == SHOWN


def test_step_below_the_least_share_is_shown_only_alone(fake) -> None:
    """The recall of ant costs 0.001 x 100 / 400 of the images, the leaks 0.1."""
    equal = [row | {"recall": 0.9} for row in CLASSES]
    ant = [CLASSES[0] | {"recall": 0.899, "recall_high": 0.8999}, *equal[1:]]
    found = detectable.Detectable(400, 400, 0.1, True, 0.03, 0.05)
    run = replace(inputs(fake), label_issues=None)
    (all_classes,) = next_steps.next_steps(run, equal, [], found)
    assert "none is proven weaker than the middle class" in all_classes.text
    (alone,) = next_steps.next_steps(run, ant, [], found)
    assert alone.stake == pytest.approx(0.00025)
    (leaks,) = next_steps.next_steps(run, ant, LEAKS, found)
    assert "--drop-leaks" in leaks.command


def test_class_whose_interval_has_the_middle_recall_is_not_named(fake) -> None:
    """The middle recall is 0.65; only ant's interval is below it, though cat loses more."""
    ant, bee, cat, dog = CLASSES
    unsure = [ant, bee, cat | {"support": 300, "recall_high": 0.66}, dog]
    (step,) = next_steps.of_a_class("animals", 400, unsure)
    assert "images of ant" in step.text
    assert [*next_steps.of_a_class("animals", 400, [row | {"recall_high": 0.99} for row in CLASSES])] == []


@pytest.mark.parametrize(
    ("there", "back", "words"),
    [
        (1, 1, "3 and 7: 2 of 2 mistakes. 1 image of class 3 is predicted as 7, and 1 of class 7 as 3."),
        (
            2,
            0,
            "3 and 7: 2 of 2 mistakes. 2 images of class 3 are predicted as 7, and none the other way round.",
        ),
    ],
)
def test_mixed_up_classes_are_read_as_a_sentence(tmp_path: Path, there: int, back: int, words: str) -> None:
    np.save(tmp_path / evaluate.CONFUSION, np.array([[9, there], [back, 9]]))
    shown = SimpleNamespace(
        evaluation=SimpleNamespace(directory=tmp_path), tensors=SimpleNamespace(classes=("3", "7"))
    )
    assert key_findings.mixed_up(shown) == f"Mixed up most are {words}"


def test_share_below_all_is_not_written_as_all() -> None:
    assert shares.unbroken_percent(0.99996) == "99.996\N{NO-BREAK SPACE}%"
    assert shares.unbroken_percent(0.00001) == "0.001\N{NO-BREAK SPACE}%"
    assert shares.unbroken_percent(1.0) == "100.00\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(("difference", "discordant"), [(0.02, 0.1), (0.005, 0.05), (0.05, 0.05)])
def test_images_for_have_the_power_of_the_exact_test(difference: float, discordant: float) -> None:
    """Connor's approximation against the power that is summed exactly: 80 % within 5 points."""
    images = detectable.images_for(difference, discordant)
    assert detectable.power(difference, discordant, images) == pytest.approx(0.8, abs=0.05)


@pytest.mark.slow
def test_every_mistake_has_its_path(fake) -> None:
    values = content.content(inputs(fake))
    assert all(item["path"] for item in values["mistakes"])
    page = render(report.PAGE + ".j2", values, content.FILTERS)
    assert page.count('<span class="path">') >= len(values["mistakes"])
    assert Path(values["mistakes"][0]["path"]).name in page
