import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import label_issues
from tasks.core.registry import promotion
from tasks.core.reports import content, report
from tasks.core.reports.inputs import ReportInputs
from tasks.core.stage import publish
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.ingredients import Ingredients

FACTS = {
    "run_id": "run-1",
    "started": "2026-01-02 03:04 UTC",
    "parameters": {"dataset": "animals", "seed": 0, "workspace": "somewhere", "refresh": ["all"]},
    "stages": {
        "train": {"state": "ran", "seconds": 12.5, "made_in_seconds": 12.5},
        "rival": {"state": "cached", "seconds": 0.2, "made_in_seconds": 372},
    },
    "packages": {"numpy": "2.4.6"},
    "git_commit": "abc123",
}


def inputs(
    fake, name: str = "one", skill: float = 2.0, champion=None, policy=PromotePolicy.better
) -> ReportInputs:
    made_of = Ingredients("download", {}, {})
    publish.publish(fake.workspace.root / "raw" / made_of.digest, made_of, lambda staging: {})
    raw = RawDataset(f"raw/{made_of.digest}", made_of.digest, fake.dataset, "folder", "", 560)
    trained, evaluation = fake.trained(name), fake.evaluation(name, skill)
    decision = promotion.promote(
        trained, evaluation, champion, policy, fake.tensors(), FACTS, fake.workspace, "ann"
    )
    exported, doubted = (
        fake.exported(name),
        label_issues.find_label_issues(evaluation, fake.tensors(), None, fake.workspace),
    )
    return ReportInputs(
        raw, fake.tensors(), fake.audit(), trained, evaluation, decision, FACTS, exported, doubted
    )


def html(fake, about: ReportInputs) -> str:
    return (report.write_report(about, fake.workspace).directory / "report.html").read_text()


class Outside(HTMLParser):
    """Collects what a browser would fetch, and tags that are not closed."""

    VOID = ("meta", "link", "img", "br", "path", "use", "input", "hr", "rect")

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


def test_the_page_is_whole_and_needs_no_network(fake) -> None:
    text = html(fake, inputs(fake))
    parser = Outside()
    parser.feed(text)
    assert parser.open == []
    assert parser.fetched == []
    assert "<script" not in text
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_the_page_says_what_happened(fake) -> None:
    about = inputs(fake)
    text = html(fake, about)
    assert text.index("the first champion of animals") < text.index("Metrics</h2>")
    assert f"{about.evaluation.accuracy * 100:.2f}\N{NO-BREAK SPACE}%" in text
    for words in (
        *fake.classes,
        "1 test image is also in train",
        "git checkout abc123",
        about.trained.digest,
    ):
        assert words in text
    assert "--dataset animals --seed 0</pre>" in text
    assert "12.5" in text
    assert "rival" in text


def test_a_comparison_shows_what_was_lost_and_won(fake) -> None:
    first = inputs(fake).evaluation
    text = html(fake, inputs(fake, "two", skill=3.0, champion=first))
    assert "proven better, replaces champion v0001" in text
    assert "McNemar" in text
    assert "images that v0001 has right and v0002 has wrong" in text
    assert "have decided between two models 1 time so far" in text


def test_certificates_suspects_and_leaks_are_shown(fake) -> None:
    about = inputs(fake, skill=1.0)
    text = html(fake, about)
    assert "not published</span>: 10.00 points of accuracy are lost" in text
    assert "2,500 kB" in text
    assert f"{about.label_issues.counts['test']:,} test" in text
    assert f"{about.label_issues.path}/label_issues.csv" in text
    assert "cached, would have cost 6 m 12 s" in text


def test_without_suspects_it_says_so(fake) -> None:
    text = html(fake, inputs(fake, skill=50.0))
    assert "Confident learning doubts none of the test and val labels." in text


def test_a_run_with_nothing_new_finds_its_report(fake) -> None:
    first = report.write_report(inputs(fake), fake.workspace)
    made = first.manifest["created"], (first.directory / "report.html").stat().st_mtime_ns
    later = replace(inputs(fake), facts=FACTS | {"run_id": "run-2", "stages": {}, "git_commit": "def"})
    second = report.write_report(later, fake.workspace)
    assert second == first
    assert (second.manifest["created"], (second.directory / "report.html").stat().st_mtime_ns) == made


def test_what_changes_the_page_changes_the_digest(fake) -> None:
    about = inputs(fake)
    digest = report.ingredients(about).digest
    other_seed = replace(about, facts=FACTS | {"parameters": {"dataset": "animals", "seed": 1}})
    elsewhere = {"dataset": "animals", "seed": 0, "workspace": "there"}
    assert report.ingredients(other_seed).digest != digest
    assert report.ingredients(replace(about, facts=FACTS | {"parameters": elsewhere})).digest == digest
    assert report.ingredients(inputs(fake, "two", 3.0, about.evaluation)).digest != digest


def test_the_template_and_the_style_are_ingredients(fake, tmp_path) -> None:
    about = inputs(fake)
    digest = report.ingredients(about).digest
    for name in report.PARTS:
        (tmp_path / name).write_text((report.TEMPLATES / name).read_text())
    assert report.ingredients(about, tmp_path).digest == digest
    (tmp_path / "report.css").write_text("body { color: red }")
    assert report.ingredients(about, tmp_path).digest != digest


def test_names_from_outside_are_text(fake) -> None:
    wild = fake.made(classes=("<script>alert(1)</script>", "a&b", '"q"', "d", "e", "f", "g"))
    text = html(wild, inputs(wild))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_many_classes_have_a_picture_of_the_matrix(fake) -> None:
    many = fake.made(classes=tuple(f"class {number}" for number in range(40)))
    text = html(many, inputs(many))
    assert 'alt="confusion matrix"' in text
    assert '<table class="matrix">' not in text


@pytest.mark.parametrize("shape", [(8, 8, 1), (200, 120, 3)])
def test_grey_and_large_images_have_pictures(fake, shape) -> None:
    text = html(fake.made(shape=shape, images=60), inputs(fake.made(shape=shape, images=60)))
    assert text.count("data:image/png") > 5
    assert len(text) < 1_500_000


def test_two_classes_and_a_perfect_model(fake) -> None:
    pair = fake.made(classes=("no", "yes"), images=60)
    text = html(pair, inputs(pair, skill=50.0))
    assert "100.00\N{NO-BREAK SPACE}%" in text
    assert "0 of 0 test images that the model got wrong" in text


def test_the_report_in_short(fake) -> None:
    made = report.write_report(inputs(fake), fake.workspace)
    text = report.read_summary(made)
    assert text.startswith("## animals v0001\n\n**the first champion of animals**")
    assert "![confusion matrix](data:image/png;base64," in text
    assert len(text) < 150_000
    rows = report.read_classes(made)
    assert sorted(row["class"] for row in rows) == sorted(fake.classes)
    recalls = [float(row["recall"].removesuffix("\N{NO-BREAK SPACE}%")) for row in rows]
    assert recalls == sorted(recalls)


def test_commands_can_be_pasted() -> None:
    assert content.command({"dataset": "my photos", "epochs": 3, "augment": False, "archive": None}) == (
        "python flows/train_flow.py --dataset 'my photos' --epochs 3 --no-augment"
    )
