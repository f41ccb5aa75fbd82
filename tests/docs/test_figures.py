"""No figure without a benchmark: what README.md and docs/benchmarks.md quote is in benchmarks/results/."""

import os
import re
import sys
from typing import Any

import pytest

from benchmarks import pairs, result_pages
from tests.docs.pages import ROOT, text_of

UNITS = r"%|s\b|MB\b|GB\b|CPU-seconds\b|images/s\b|times\b|minutes\b|points\b"
FIGURE = re.compile(rf"(?<![\w.])\d[\d,]*(?:\.\d+)?(?= ?(?:{UNITS}))|(?<![\w.,])\d+\.\d+(?![\w.])")
# Figures that nobody measured: what a version is called, what an option asks for, what the gate promises.
CONDITIONS = {
    "README.md": {"3.11", "2.21", "2.0", "5", "95"},
    "docs/benchmarks.md": {"2.21"},
}
RESULTS = result_pages.load()


def figures(text: str) -> set[str]:
    return set(FIGURE.findall(text))


def sections(page: str) -> dict[str, str]:
    """The sentences of a page by the title of their section; tables are left out."""
    lines = [line for line in text_of(ROOT / page).splitlines() if not line.startswith(("|", "    "))]
    parts = re.split(r"^#+ (.+)$", "\n".join(lines), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def in_results(section: str) -> set[str]:
    """The figures of the results that belong to a section."""
    found = set()
    for result in RESULTS.values():
        if result["section"] == section:
            cells = [cell for row in result["rows"] for cell in row]
            found |= figures(" ; ".join([*cells, *result["figures"].values()]))
            found |= set(re.findall(r"\d[\d,]*(?:\.\d+)?", " ".join(cells)))
    return found


def test_figures_of_the_page_of_benchmarks_have_a_result() -> None:
    for title, text in sections("docs/benchmarks.md").items():
        quoted = figures(text) - CONDITIONS["docs/benchmarks.md"]
        assert quoted - in_results(title) == set(), title


def test_figures_of_the_readme_have_a_result() -> None:
    quoted = figures("\n".join(sections("README.md").values())) - CONDITIONS["README.md"]
    assert quoted
    results = [in_results(section) for section in ("README", "Recipes", "Folder to tensors")]
    assert quoted - set().union(*results) == set()


def test_every_table_of_figures_is_written_from_a_result() -> None:
    """Tables whose cells hold decimals or units must be among those that the generator writes."""
    for page in ("README.md", "docs/benchmarks.md"):
        lines = text_of(ROOT / page).splitlines()
        written = {row for result in RESULTS.values() for row in _rows(result, page)}
        with_figures = [line for line in lines if line.startswith("|") and figures(line)]
        assert with_figures
        assert [line for line in with_figures if line not in written] == []


def _rows(result: dict[str, Any], page: str) -> list[str]:
    return result_pages.table(result, result["pages"][page]) if page in result["pages"] else []


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_says_how_it_was_made(name: str) -> None:
    result = RESULTS[name]
    assert result["command"]
    assert result["device"]
    assert result["n"] >= 1
    assert all(len(row) == len(result["columns"]) for row in result["rows"])


def test_a_figure_that_nobody_measured_is_noticed() -> None:
    assert figures("It takes 12 s, 3.5 GB and 40 % on 2 cores.") == {"12", "3.5", "40"}
    assert figures("It takes 12 s.") - in_results("Orchestration") == {"12"}


# make bench


def test_rivals_are_measured_in_turn_and_ratios_taken_within_rounds() -> None:
    order: list[str] = []
    seconds = {"ours": iter([1.0, 2.0, 4.0]), "rival": iter([2.0, 6.0, 10.0])}

    def way(name: str) -> pairs.Way:
        return lambda: (order.append(name), {"cpu": next(seconds[name])})[1]

    measured = pairs.in_turn({name: way(name) for name in seconds}, rounds=3)
    assert order == ["ours", "rival"] * 3
    row = pairs.comparison("Start", "a run", measured, "ours")
    assert row["ways"]["rival"]["cpu"] == {"n": 3, "median": 6.0, "least": 2.0, "largest": 10.0}
    assert row["ratios"] == {"rival": {"n": 3, "median": 2.5, "least": 2.0, "largest": 3.0}}  # 2/1, 6/2, 10/4


def test_page_of_a_bench_has_its_figures_and_what_failed() -> None:
    measured = {"ours": [{"cpu": 1.0, "wall": 2.0}] * 2, "rival": [{"cpu": 12.0, "wall": 24.0}] * 2}
    result = {"command": "make bench", "made": "today", "commit": "0123abc", "machine": pairs.machine()}
    result |= {"load_before": 0.1, "load_after": 1.5, "rounds": 2, "failed": {"features": "no onnxruntime"}}
    page = result_pages.quick_page(result | {"rows": [pairs.comparison("Start", "a run", measured, "ours")]})
    assert "| rival | 12.0 | 24.0 | 12.00 (12.00 to 12.00) | 2 |" in page
    assert "| ours | 1.00 | 2.00 | 1 | 2 |" in page
    assert "Not measured: features (no onnxruntime)." in page
    assert "wall times are undisturbed" in page


def test_a_process_that_fails_is_an_error() -> None:
    used = pairs.process([sys.executable, "-c", "sum(range(10**6))"], dict(os.environ))
    assert 0 < used["cpu"] < 60
    with pytest.raises(RuntimeError, match="no such thing"):
        pairs.process([sys.executable, "-c", "raise SystemExit('no such thing')"], dict(os.environ))
