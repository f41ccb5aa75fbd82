"""No figure without a benchmark: what README.md and docs/benchmarks.md quote is in benchmarks/results/."""

import re
from typing import Any

import pytest

from benchmarks import result_pages
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
    assert quoted - in_results("README") - in_results("Recipes") == set()


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
