"""The report of a sweep: its trials, their standings and a plot in one HTML file without network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.core.progress import duration
from tasks.core.reports import plots
from tasks.core.reports.render import render, template_digests
from tasks.core.stage.handles import SweepReport, TensorCache
from tasks.core.stage.stages import SWEEP
from tasks.core.sweep import ranking
from tasks.core.sweep.plot import SHOWN, png, svg
from tasks.core.workspace import Workspace

TEMPLATES = ("sweep.html.j2", "report.css")
PAGE, TRIALS, PLOT, LEADERBOARD, SUMMARY = (
    "sweep.html",
    "trials.parquet",
    "sweep.png",
    "standings.json",
    "sweep.md",
)


def write_sweep_report(
    trials: pd.DataFrame, tensors: TensorCache, facts: Mapping[str, Any], workspace: Workspace
) -> SweepReport:
    """Write `sweep.html`, `sweep.png`, `trials.parquet` and what the dashboard shows.

    Args:
        trials: As `ranking.trials_table` gives them.
        tensors: The images.
        facts: `sweep` (the sweep's id), `command` and `wall_seconds`, for the page.
    """
    made_of = SWEEP.ingredients(
        inputs={"tensors": tensors.digest} | template_digests(*TEMPLATES),
        parameters=dict(facts) | {"trials": json.loads(trials.to_json(orient="records"))},
    )
    return SWEEP.output(made_of, workspace, lambda staging: _write(staging, trials, tensors, facts))


def leaderboard_rows(report: SweepReport) -> list[dict[str, str]]:
    """One row a configuration, best first, as people read them."""
    return list(json.loads((report.directory / LEADERBOARD).read_bytes()))


def trial_rows(report: SweepReport) -> list[dict[str, str]]:
    """One row a trial, in their order, as people read them."""
    return _trial_rows(pd.read_parquet(report.directory / TRIALS))


def summary(report: SweepReport) -> str:
    """Markdown with the plot as a picture."""
    return (report.directory / SUMMARY).read_text(encoding="utf-8")


def _write(
    staging: Path, trials: pd.DataFrame, tensors: TensorCache, facts: Mapping[str, Any]
) -> dict[str, Any]:
    standings = ranking.leaderboard(trials)
    rows = _leaderboard_rows(standings)
    picture = png(standings, trials)
    words = verdict(standings, trials)
    trials.to_parquet(staging / TRIALS, index=False)
    (staging / PLOT).write_bytes(picture)
    (staging / LEADERBOARD).write_text(json.dumps(rows), encoding="utf-8")
    (staging / SUMMARY).write_text(_markdown(tensors, words, rows, picture), encoding="utf-8")
    content = {
        "dataset": tensors.dataset,
        "facts": facts,
        "words": words,
        "plot": svg(standings, trials),
        "more": max(0, len(standings) - SHOWN),
        "standings": rows,
        "trials": _trial_rows(trials),
        "failed": [row for row in _trial_rows(trials) if row["state"] == "failed"],
        "cost": cost(trials),
    }
    (staging / PAGE).write_text(render(PAGE + ".j2", content), encoding="utf-8")
    return {"dataset": tensors.dataset, "trials": len(trials)}


def verdict(standings: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """What was chosen, and how sure that is, in sentences."""
    best, chosen = standings.iloc[0], trials[trials["chosen"]].iloc[0]
    name = best["varied"] or f"{chosen['recipe']} as given"
    said = [f"Chosen on {best['images']:,} validation images: {name}, seed {chosen['seed']}."]
    if best["seeds"] > 1:
        said.append(
            f"Its {best['seeds']} seeds have {best['mean']:.2%} right on average, deviation"
            f" {100 * best['deviation']:.2f} points; 95 % interval of the mean {100 * best['low']:.2f} to"
            f" {100 * min(1, best['high']):.2f}."
        )
    close = int(standings["close"].sum()) - 1
    if len(standings) > 1:
        others = len(standings) - 1
        said.append(
            f"Of {others} other configuration{'s' * (others > 1)}, {close} {'is' if close == 1 else 'are'} so"
            " close that these validation images cannot tell."
        )
    failed = int(trials["val_accuracy"].isna().sum())
    if failed:
        said.append(f"{failed} trial{'s' * (failed > 1)} failed; their configurations were not chosen from.")
    return said


def cost(trials: pd.DataFrame) -> str:
    """What the trials cost when they were made, in words."""
    ran = trials[trials["state"] == "ran"]
    counts = trials["state"].value_counts()
    states = ", ".join(f"{counts[name]} {name}" for name in ("ran", "reused", "failed") if name in counts)
    return f"{states}; those that ran took {duration(float(ran['cpu_seconds'].sum()))} of CPU time"


def _leaderboard_rows(standings: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "configuration": row.varied or "as given",
            "val accuracy": _percent(row.mean_),
            "deviation": "" if pd.isna(row.deviation) else f"{100 * row.deviation:.2f}",
            "95 % over seeds": _range(row.low, min(row.high, 1.0)),
            "95 % of the images": _range(row.image_low, row.image_high),
            "val loss": "" if pd.isna(row.val_loss) else f"{row.val_loss:.4f}",
            "seeds": f"{row.seeds}" + (f", {row.failed} failed" if row.failed else ""),
            "CPU-seconds": "" if pd.isna(row.cpu_seconds) else f"{row.cpu_seconds:.1f}",
            "": "chosen" if place == 0 else "close" if row.close else "",
        }
        for place, row in enumerate(standings.rename(columns={"mean": "mean_"}).itertuples())
    ]


def _trial_rows(trials: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "trial": str(row.trial),
            "configuration": row.varied or "as given",
            "seed": str(row.seed),
            "val accuracy": _percent(row.val_accuracy),
            "95 % interval": _range(row.val_accuracy_low, row.val_accuracy_high),
            "val loss": "" if pd.isna(row.val_loss) else f"{row.val_loss:.4f}",
            "state": row.state,
            "training": row.training or "",
            "error": row.error or "",
            "": "chosen" if row.chosen else "",
        }
        for row in trials.itertuples()
    ]


def _markdown(tensors: TensorCache, words: list[str], rows: list[dict[str, str]], picture: bytes) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(row[name] for name in names) + " |" for row in rows[:SHOWN]]
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    plot = f"![accuracy on val by configuration]({plots.data_uri(picture)})"
    return "\n\n".join([f"## Sweep of {tensors.dataset}", " ".join(words), plot, "\n".join(head + lines)])


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{share:.2%}"


def _range(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"{100 * low:.2f} to {100 * high:.2f}"
