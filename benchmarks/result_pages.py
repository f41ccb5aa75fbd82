"""Markdown of what benchmarks/results/*.json hold, so that no page has a figure of its own.

`bench.json` is what `make bench` wrote. Every other file is one table as its command printed it:

    {"command": ..., "device": ..., "columns": [...], "rows": [[...]], "figures": {what: text},
     "pages": {page: {first column on that page: the name here, ...}}}

`figures` are those that sentences of a page quote beside the table. The texts of cells and figures are those
of the printed table.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
QUICK = "bench.json"


def load() -> dict[str, dict[str, Any]]:
    """The results by file name, without that of `make bench`."""
    files = sorted(path for path in RESULTS.glob("*.json") if path.name != QUICK)
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files}


def table(result: dict[str, Any], columns: list[str]) -> list[str]:
    """The lines of a Markdown table with some of a result's columns."""
    places = [result["columns"].index(name) for name in columns]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return lines + [f"| {' | '.join(row[place] for place in places)} |" for row in result["rows"]]


def with_tables(text: str, page: str, results: dict[str, dict[str, Any]]) -> str:
    """A page whose tables are those of the results: found by their first lines, and written anew."""
    lines = text.splitlines()
    for name, result in results.items():
        columns = result["pages"].get(page)
        if columns is None:
            continue
        written = table(result, columns)
        if lines.count(written[0]) != 1:
            raise ValueError(f"{page} has {lines.count(written[0])} tables with the first line of {name}")
        first = lines.index(written[0])
        end = next((n for n in range(first, len(lines)) if not lines[n].startswith("|")), len(lines))
        lines[first:end] = written
    return "\n".join(lines) + "\n"


def quick_page(result: dict[str, Any]) -> str:
    """The page of a `make bench`."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    text = f"""\
# Quick benchmarks

This page is written from `benchmarks/results/{QUICK}`, which `{result["command"]}` made. Ways are measured in
turn, {_rounds(result["rounds"])}. CPU and wall are medians of seconds, with those of children. "CPU, of ours"
is what a way costs in units of ours: the median of the ratios within each round (the least to the largest).

{machine["processor"]}, {machine["cores"]} cores, {machine["memory_gb"]} GB; load average
{result["load_before"]} before and {result["load_after"]} after, so wall times are {_worth(result)}.
{result["made"]}, commit {result["commit"]}. {versions}.
"""
    topics = list(dict.fromkeys(row["topic"] for row in result["rows"]))
    for topic in topics:
        text += f"\n## {topic}\n"
        for row in result["rows"]:
            text += "\n".join(["", *_quick_table(row), ""]) if row["topic"] == topic else ""
    for name, reason in result["failed"].items():
        text += f"\nNot measured: {name} ({reason}).\n"
    return text


def _rounds(count: int) -> str:
    return "one round" if count == 1 else f"{count} rounds"


def _worth(result: dict[str, Any]) -> str:
    return (
        "those of a busy machine" if result["load_before"] > result["machine"]["cores"] / 2 else "undisturbed"
    )


def _quick_table(row: dict[str, Any]) -> list[str]:
    lines = [
        f"{row['what'][0].upper()}{row['what'][1:]}:",
        "",
        "| way | CPU, s | wall, s | CPU, of ours | n |",
    ]
    lines.append("|---|---|---|---|---|")
    for name, measures in row["ways"].items():
        cpu, wall = measures["cpu"], measures.get("wall")
        cells = [name, _seconds(cpu["median"]), _seconds(wall["median"]) if wall else "", "", str(cpu["n"])]
        if ratio := row.get("ratios", {}).get(name):
            cells[3] = f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['largest']:.2f})"
        elif name == row.get("ours"):
            cells[3] = "1"
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _seconds(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
