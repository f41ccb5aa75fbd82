"""What is asked of the decision: options, and files of costs, as they are read."""

from pathlib import Path

import pytest

from tasks.core.data import cost_file
from tasks.core.decision_settings import DecisionSettings
from tasks.core.errors import DataError, PlumblineError, UsageError
from tasks.core.evaluation import decision

PAIR = ("benign", "melanoma")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_recall": ("melanoma",)}, "--least-recall cannot be read"),
        ({"least_recall": ("melanoma=1.0",)}, "between 0 and 1"),
        ({"least_recall": ("melanoma=95%",)}, "--least-recall cannot be read"),
        ({"least_precision": ("=0.9",)}, "--least-precision cannot be read"),
        ({"least_recall": ("a=0.9",), "least_precision": ("a=0.9",)}, "a class has one threshold"),
        ({"least_recall": ("a=0.9",), "cost": "costs.csv"}, "--cost excludes"),
        ({"cost": "fn=10,fp=1"}, "--positive CLASS"),
        ({"cost": "fn=0,fp=0", "positive": "a"}, "no mistake costs anything"),
        ({"cost": "fn=ten", "positive": "a"}, "--cost cannot be read"),
        ({"prevalence": 0.0}, "prevalence must be above 0"),
    ],
)
def test_settings_that_cannot_be_read_are_one_usage_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        DecisionSettings(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        ({"positive": "melanom"}, PAIR, "--positive names a class that the images do not have"),
        ({"least_recall": ("nevus=0.9",)}, PAIR, "one of benign, melanoma"),
        ({"least_precision": ("nevus=0.9",)}, PAIR, "--least-precision names a class"),
        ({"prevalence": 0.02}, ("a", "b", "c"), "--positive CLASS, since there are 3 classes"),
    ],
)
def test_resolve_unknown_classes_are_one_usage_error(options, classes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        decision.resolve(DecisionSettings(**options), classes)
    assert message in str(caught.value)


def test_resolve_costs_of_one_class() -> None:
    settings = DecisionSettings(positive="b", cost="fp=1, fn=10")
    assert decision.resolve(settings, ("a", "b", "c")).costs == ((0, 1, 0), (10, 0, 10), (0, 1, 0))


def test_resolve_a_class_name_may_have_an_equals_sign() -> None:
    request = decision.resolve(DecisionSettings(least_recall=("x=1=0.9",)), ("x=1", "y"))
    assert request.promises == (("recall", "x=1", 0.9),)


def test_read_costs_puts_rows_and_columns_into_the_order_of_the_classes(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_text("true,mild,none,severe\nsevere,4,9,0\nnone,1,0,2\nmild,0,1,2.5\n\n", encoding="utf-8-sig")
    assert cost_file.read(path, ("none", "mild", "severe")) == ((0, 1, 2), (1, 0, 2.5), (9, 4, 0))


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\n;a;b;\na;0;1,5;\nb;0,125;0;\n;;;\n",
        '"", "a", "b"\n"a", 0, "1,5"\n"b", ".125", 0\n',
        "\ta\tb\nb\t0,125\t0\na\t0\t1.5\n",
    ],
)
def test_costs_may_have_decimal_commas(tmp_path: Path, text: str) -> None:
    path = tmp_path / "costs.csv"
    path.write_text(text)
    assert cost_file.read(path, ("a", "b")) == ((0, 1.5), (0.125, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no costs"),
        ("true,a,b\na,0,1\nc,1,0\n", "unknown: c; missing: b"),
        ("true,a,b,b\na,0,1,1\nb,1,0,0\n", "twice: b"),
        ("true,a,b\na,0\nb,1,0\n", "no cost of predicting b for an image of a"),
        ("true,a,b\na,0,-1\nb,1,0\n", "'-1'"),
        ("true,a,b\na,0,nan\nb,1,0\n", "'nan'"),
        ("true,a,b\na,0,1\nb,2,5,0\n", "line 3, has more cells than the header"),  # a decimal comma: 2.5
        ("true;a;b\na;0;1,000\nb;2;0\n", "without a thousands separator"),
        ("true,a,b\n\na,0,1_000\nb,2,0\n", "line 3, has no cost of predicting b"),
        ("true,a,b\na,5,0\nb,0,5\n", "no mistake costs anything"),
    ],
)
def test_read_costs_bad_file_is_one_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "costs.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        cost_file.read(path, ("a", "b"))
    assert message in str(caught.value)


def test_check_cost_file_missing_or_no_text_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(PlumblineError, match="cannot be read"):
            decision.check_cost_file(DecisionSettings(cost=str(tmp_path / name)))
