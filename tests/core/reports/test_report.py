import html as html_module
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import label_issues, scores
from tasks.core.metrics.declared import declarations
from tasks.core.registry.promotion import promotion
from tasks.core.reports import content, report
from tasks.core.reports.inputs import ReportInputs
from tasks.core.stage import publish
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import manifests

pytestmark = pytest.mark.slow
FACTS = {
    "run_id": "run-1",
    "started": "2026-01-02 03:04 UTC",
    "parameters": {"dataset": "animals", "seed": 0, "workspace": "somewhere", "refresh": ["all"]},
    "stages": {
        "train": {"state": "ran", "seconds": 12.5, "made_in_seconds": 12.5},
        "evaluate champion": {"state": "cached", "seconds": 0.2, "made_in_seconds": 372},
    },
    "packages": {"numpy": "2.4.6"},
    "git_commit": "abc123",
}


def inputs(
    fake, name: str = "one", skill: float = 2.0, champion=None, policy=PromotePolicy.better
) -> ReportInputs:
    ingredients = Ingredients("download", {}, {})
    publish.publish(fake.workspace.root / "raw" / ingredients.digest, ingredients, lambda staging: {})
    raw = RawDataset(f"raw/{ingredients.digest}", ingredients.digest, fake.dataset, "folder", "", 560)
    trained, evaluation = fake.trained(name), fake.evaluation(name, skill)
    decision = promotion.promote(
        trained, evaluation, champion, policy, fake.tensors(), FACTS, fake.workspace, "ann"
    )
    exported, issues = (
        fake.exported(name),
        label_issues.find_label_issues(evaluation, fake.tensors(), None, fake.workspace),
    )
    return ReportInputs(
        raw, fake.tensors(), fake.audit(), trained, evaluation, decision, FACTS, exported, issues
    )


def html(fake, report_inputs: ReportInputs) -> str:
    return (report.write_report(report_inputs, fake.workspace).directory / "report.html").read_text()


class PageParser(HTMLParser):
    """Collects the addresses that a browser would fetch, and the tags that are not closed."""

    VOID = ("meta", "link", "img", "br", "path", "use", "input", "hr", "rect", "wbr")

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("data:", "#")):
                self.fetched.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_report_page_is_valid_and_needs_no_network(fake) -> None:
    text = html(fake, inputs(fake))
    parser = PageParser()
    parser.feed(text)
    assert parser.open == []
    assert set(parser.fetched) == {"review.html"}  # beside the report
    assert "<script" not in text
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_report_has_a_review_page_beside_it_with_the_mistakes_of_its_model(fake) -> None:
    report_inputs = inputs(fake)
    directory = report.write_report(report_inputs, fake.workspace).directory
    content = json.loads(re.findall(r'id="data">(.*)</script>', (directory / "review.html").read_text())[0])
    assert content["title"] == "animals v0001"
    assert content["save"] == ""
    assert content["command"] == "plumbline train --dataset animals --corrections corrections.csv"
    lists = {name for item in content["items"] for name in item["list"].split("; ")}
    assert lists == {"label issue", "mistake", "duplicate", "control"}
    assert all(item["picture"].startswith("data:image/png;base64,") for item in content["items"])


def test_report_page_has_verdict_figures_and_command(fake) -> None:
    report_inputs = inputs(fake)
    text = html(fake, report_inputs)
    assert text.index("the first champion of animals") < text.index("Metrics</h2>")
    assert f"{report_inputs.evaluation.accuracy * 100:.2f}\N{NO-BREAK SPACE}%" in text
    for text_part in (
        *fake.classes,
        "1 test image is also in train",
        "git checkout abc123",
        report_inputs.trained.digest,
    ):
        assert text_part in text
    assert "--dataset animals --seed 0</pre>" in text
    assert "12.5" in text
    assert "evaluate champion" in text


def test_report_comparison_shows_lost_and_won_images(fake) -> None:
    first = inputs(fake).evaluation
    text = html(fake, inputs(fake, "two", skill=3.0, champion=first))
    assert "proven better, replaces champion v0001" in text
    assert "McNemar" in text
    assert "images that v0001 predicts correctly and v0002 does not" in text
    assert "have decided between two models 1 time so far" in text


def test_report_shows_exports_label_issues_and_stage_states(fake) -> None:
    report_inputs = inputs(fake, skill=1.0)
    text = html(fake, report_inputs)
    assert "not published</span>: 10.00 points of accuracy are lost" in text
    assert "2,500 kB" in text
    assert f"{report_inputs.label_issues.counts['test']:,} test" in text
    assert f"{report_inputs.label_issues.path}/label_issues.csv" in text
    assert "cached, would have cost 6 m 12 s" in text


def test_cost_of_an_evaluation_has_that_of_its_predictions(fake) -> None:
    given = inputs(fake)
    predictions = fake.workspace.root / given.evaluation.predictions
    manifest, cost = manifests.read(predictions), {"wall_seconds": 7, "cpu_seconds": 9, "peak_memory_mb": 1e6}
    (predictions / manifests.MANIFEST).unlink()
    manifests.write(predictions, manifest["ingredients"], manifest["facts"], cost)
    evaluated = given.evaluation.manifest["cost"]
    predicted = manifests.read(predictions)["cost"]
    shown = {row["name"]: row["cost"] for row in content.stages(given)}["evaluate"]
    assert shown["cpu_seconds"] == pytest.approx(evaluated["cpu_seconds"] + predicted["cpu_seconds"])
    assert shown["wall_seconds"] >= max(evaluated["wall_seconds"], predicted["wall_seconds"])
    assert shown["peak_memory_mb"] == max(evaluated["peak_memory_mb"], predicted["peak_memory_mb"])


def test_report_without_label_issues_says_so(fake) -> None:
    text = html(fake, inputs(fake, skill=50.0))
    assert "No label is in doubt among the test and val images." in text


def test_write_report_unchanged_run_reuses_the_report(fake) -> None:
    first = report.write_report(inputs(fake), fake.workspace)
    before = first.manifest["created"], (first.directory / "report.html").stat().st_mtime_ns
    later = replace(inputs(fake), facts=FACTS | {"run_id": "run-2", "stages": {}, "git_commit": "def"})
    second = report.write_report(later, fake.workspace)
    assert second == first
    assert (second.manifest["created"], (second.directory / "report.html").stat().st_mtime_ns) == before


def test_ingredients_only_relevant_changes_change_the_digest(fake) -> None:
    report_inputs = inputs(fake)
    digest = report.ingredients(report_inputs).digest
    other_seed = replace(report_inputs, facts=FACTS | {"parameters": {"dataset": "animals", "seed": 1}})
    other_workspace = {"dataset": "animals", "seed": 0, "workspace": "there"}
    assert report.ingredients(other_seed).digest != digest
    assert (
        report.ingredients(replace(report_inputs, facts=FACTS | {"parameters": other_workspace})).digest
        == digest
    )
    assert report.ingredients(inputs(fake, "two", 3.0, report_inputs.evaluation)).digest != digest


def test_ingredients_include_template_and_style(fake, tmp_path) -> None:
    report_inputs = inputs(fake)
    digest = report.ingredients(report_inputs).digest
    for name in report.PARTS:
        (tmp_path / name).write_text((report.TEMPLATES / name).read_text())
    assert report.ingredients(report_inputs, tmp_path).digest == digest
    (tmp_path / "report.css").write_text("body { color: red }")
    assert report.ingredients(report_inputs, tmp_path).digest != digest


def test_report_class_names_are_escaped(fake) -> None:
    hostile = fake.with_fields(classes=("<script>alert(1)</script>", "a&b", '"q"', "d", "e", "f", "g"))
    text = html(hostile, inputs(hostile))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.slow
def test_report_many_classes_show_the_matrix_as_a_picture(fake) -> None:
    many = fake.with_fields(classes=tuple(f"class {number}" for number in range(40)))
    text = html(many, inputs(many))
    assert 'alt="Confusion matrix of many classes' in text
    assert '<table class="matrix">' not in text


@pytest.mark.parametrize("shape", [(8, 8, 1), (200, 120, 3)])
def test_report_grey_and_large_images_have_pictures(fake, shape) -> None:
    text = html(fake.with_fields(shape=shape, images=60), inputs(fake.with_fields(shape=shape, images=60)))
    assert text.count("data:image/") > 5
    assert len(text) < 1_500_000


def test_report_perfect_model_has_no_mistakes(fake) -> None:
    pair = fake.with_fields(classes=("no", "yes"), images=60)
    text = html(pair, inputs(pair, skill=50.0))
    assert "100.00\N{NO-BREAK SPACE}%" in text
    assert "0 of 0 test images that the model predicts wrongly" in text


def test_read_summary_and_classes_match_the_report(fake) -> None:
    written = report.write_report(inputs(fake), fake.workspace)
    text = report.read_summary(written)
    assert text.startswith("## animals v0001\n\n**the first champion of animals**")
    assert "![confusion matrix](data:image/png;base64," in text
    assert len(text) < 150_000
    rows = report.read_classes(written)
    assert sorted(row["class"] for row in rows) == sorted(fake.classes)
    recalls = [float(row["recall"].removesuffix("\N{NO-BREAK SPACE}%")) for row in rows]
    assert recalls == sorted(recalls)


def test_report_shows_every_declared_metric_with_its_meaning(fake) -> None:
    report_inputs = inputs(fake)
    test = scores.read_metrics(report_inputs.evaluation)["test"]
    written = report.write_report(report_inputs, fake.workspace)
    page = html_module.unescape((written.directory / "report.html").read_text())
    for metric in declarations.METRICS:
        value = metric.text(test[metric.key]["value"])
        assert f'<span class="faint">{metric.title}</span><b>{value}</b>' in page
        assert metric.meaning in page
        assert f"| {metric.title} | {value} | " in report.read_summary(written)


def test_report_says_what_the_test_images_can_tell(fake) -> None:
    """First by the assumption of independent mistakes, then by how often the two compared models disagree."""
    first = inputs(fake)
    text = re.sub(r"\s+", " ", html(fake, first))
    assert "The test set has 400 images: between two models, a difference below" in text
    assert "whose mistakes are independent" in text
    second = inputs(fake, "two", 3.0, champion=first.evaluation)
    text = re.sub(r"\s+", " ", html(fake, second))
    paired = second.decision.evidence["paired"]
    share = (paired["challenger"] + paired["champion"]) / 400
    assert f"the two models that were compared: they disagree on {share * 100:.0f} % of the images" in text


def test_report_says_what_is_left_of_the_error_rate_and_what_cannot_be_seen(fake) -> None:
    first = inputs(fake).evaluation
    text = html(fake, inputs(fake, "two", skill=2.2, champion=first))
    assert "This was look 1 at these test images." in text
    assert "with a probability of at most 5 %, ever" in text
    assert "the test set is too small" in text  # 400 images
    assert "were judged on these images was chosen" in text
    assert "Losses of recall that cannot be seen: " in text


def test_report_counts_groups(fake) -> None:
    grouped = fake.with_fields(group_size=10)
    first = inputs(grouped).evaluation
    compared = inputs(grouped, "two", skill=3.0, champion=first)
    assert "400 images of 40 groups" in compared.decision.verdict
    text = html(grouped, compared)
    assert "400 images of 40 groups, 7 classes" in text
    assert "the exact test that flips whole groups: p" in text


def test_counts_from_a_thousand_on_have_separators(fake) -> None:
    many = fake.with_fields(classes=("no", "yes"), images=8000)
    first = inputs(many, "one", 0.3)
    second = inputs(many, "two", 4.0, champion=first.evaluation)
    for text in (html(many, first), html(many, second)):
        shown = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|svg|pre)\b.*?</\1>", " ", text))
        without_dates = re.sub(r"\d{4}-\d\d-\d\d", "", shown)
        assert re.findall(r"(?<![\w.,/-])\d{4,}(?![\w./-])", without_dates) == []
        assert "8,000" in shown
