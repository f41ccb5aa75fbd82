"""The part of a report that reads classes against the rest."""

import pytest

from tasks.core.config import PromotePolicy
from tasks.core.decision_settings import DecisionSettings
from tasks.core.evaluation import decision, evaluate
from tasks.core.registry.promotion import promotion
from tasks.core.reports import report
from tasks.core.reports.inputs import ReportInputs
from tasks.core.stage import publish
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.ingredients import Ingredients
from tests.support.fake_outputs import FakeOutputs

pytestmark = pytest.mark.slow


def section(fake: FakeOutputs, skill: float = 1.5, **options: object) -> str:
    """The section of a report of a run with these options."""
    request = decision.resolve(DecisionSettings(**options), fake.classes)
    ingredients = Ingredients("download", {}, {})
    publish.publish(fake.workspace.root / "raw" / ingredients.digest, ingredients, lambda staging: {})
    raw = RawDataset(f"raw/{ingredients.digest}", ingredients.digest, fake.dataset, "folder", "", 560)
    tensors, trained = fake.tensors(), fake.trained("one")
    evaluation = evaluate.evaluate(fake.predictions("one", skill), tensors, fake.workspace, request)
    decided = promotion.promote(
        trained, evaluation, None, PromotePolicy.better, tensors, {"seed": 0}, fake.workspace, "ann"
    )
    inputs = ReportInputs(raw, tensors, fake.audit(), trained, evaluation, decided, {"parameters": {}})
    page = (report.write_report(inputs, fake.workspace).directory / "report.html").read_text()
    return page[page.index('<h2 id="class-reading"') : page.index('<h2 id="mistakes"')]


@pytest.fixture
def pair(fake: FakeOutputs) -> FakeOutputs:
    return fake.with_fields(classes=("benign", "melanoma"), images=600)


def test_report_of_a_promise_has_curves_rates_and_the_prevalence(pair: FakeOutputs) -> None:
    text = section(pair, least_recall=("melanoma=0.9",), prevalence=0.02)
    assert "melanoma against the rest" in text
    assert text.count("<svg") == 2
    assert "is proven with 95 % confidence by" in text
    assert "On test, melanoma has recall" in text
    assert "At a prevalence of 2 % and with the operating point" in text
    assert "melanoma at the operating point" in text
    assert 'class="wrong"' not in text


def test_report_of_an_unproven_promise_says_so_in_red(pair: FakeOutputs) -> None:
    text = section(pair, least_recall=("melanoma=0.999",))
    assert '<p class="wrong">melanoma: a recall of at least 99.9 % is not proven' in text
    assert "2,995 would be needed even if none is missed" in text  # .05 ** (1 / 2995) = .999


def test_report_of_costs_compares_them_with_the_most_probable_class(pair: FakeOutputs) -> None:
    text = section(pair, positive="melanoma", cost="fn=10,fp=1")
    assert "mean cost of an image" in text
    assert "The class with the lowest expected cost is predicted." in text


def test_report_without_options_reads_each_class(fake: FakeOutputs) -> None:
    text = section(fake.with_fields(classes=("a$", "_b", "<i>c</i>")))
    assert "Each class against the rest" in text
    assert "A ring marks the decision for the most probable class" in text
    assert "operating point" not in text
    assert "<i>" not in text
