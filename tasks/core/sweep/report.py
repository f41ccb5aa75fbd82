"""The report of a sweep: its trials, the leaderboard and a plot in one HTML file that needs no network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.core import shares
from tasks.core.markup import markdown
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
    """Write `sweep.html`, `sweep.png`, `trials.parquet`, `standings.json` and `sweep.md`.

    Args:
        trials: As `ranking.trials_table` returns them.
        tensors: The tensors that the trials used.
        facts: `sweep` (the sweep's id), `command` and `wall_seconds`, for the page.
        workspace: Where the report is published.
    """
    ingredients = SWEEP.ingredients(
        inputs={"tensors": tensors.digest} | template_digests(*TEMPLATES),
        parameters=dict(facts) | {"trials": json.loads(trials.to_json(orient="records"))},
    )
    return SWEEP.output(ingredients, workspace, lambda staging: _write(staging, trials, tensors, facts))


def leaderboard_rows(report: SweepReport) -> list[dict[str, str]]:
    """The leaderboard as text: one row per configuration, best first."""
    return list(json.loads((report.directory / LEADERBOARD).read_bytes()))


def trial_rows(report: SweepReport) -> list[dict[str, str]]:
    """The trials as text: one row per trial, in the order of the sweep."""
    return _trial_rows(pd.read_parquet(report.directory / TRIALS))


def summary(report: SweepReport) -> str:
    """The summary as markdown with the plot as a picture, for the dashboard."""
    return (report.directory / SUMMARY).read_text(encoding="utf-8")


def _write(
    staging: Path, trials: pd.DataFrame, tensors: TensorCache, facts: Mapping[str, Any]
) -> dict[str, Any]:
    leaderboard = ranking.leaderboard(trials)
    rows = _leaderboard_rows(leaderboard)
    picture = png(leaderboard, trials)
    sentences = verdict(leaderboard, trials)
    trials.to_parquet(staging / TRIALS, index=False)
    (staging / PLOT).write_bytes(picture)
    (staging / LEADERBOARD).write_text(json.dumps(rows), encoding="utf-8")
    (staging / SUMMARY).write_text(_markdown(tensors, sentences, rows, picture), encoding="utf-8")
    content = {
        "dataset": tensors.dataset,
        "facts": facts,
        "verdict": sentences,
        "plot": svg(leaderboard, trials),
        "not_plotted": max(0, len(leaderboard) - SHOWN),
        "leaderboard": rows,
        "trials": _trial_rows(trials),
        "failed": [row for row in _trial_rows(trials) if row["state"] == "failed"],
        "cost": cost(trials),
    }
    (staging / PAGE).write_text(render(PAGE + ".j2", content), encoding="utf-8")
    return {"dataset": tensors.dataset, "trials": len(trials)}


def verdict(leaderboard: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """The chosen configuration and how certain the choice is, as a list of sentences."""
    best, chosen = leaderboard.iloc[0], trials[trials["chosen"]].iloc[0]
    name = best["varied"] or f"{chosen['recipe']} as given"
    images = shares.counted(best["images"], "validation image")
    sentences = [f"Chosen on {images}: {name}, seed {chosen['seed']}."]
    if best["seeds"] > 1:
        sentences.append(
            f"Its {best['seeds']} seeds have a mean accuracy of {shares.percent(best['mean'])}, standard"
            f" deviation {100 * best['deviation']:.2f} points; 95 % interval of the mean"
            f" {shares.interval(best['low'], min(1, best['high']))}."
        )
    close = int(leaderboard["close"].sum()) - 1
    if len(leaderboard) > 1:
        others = len(leaderboard) - 1
        sentences.append(
            f"Of {others} other configuration{'s' * (others > 1)}, {close} {'is' if close == 1 else 'are'}"
            " not significantly worse on these validation images."
        )
    failed = int(trials["val_accuracy"].isna().sum())
    if failed:
        sentences.append(
            f"{failed} trial{'s' * (failed > 1)} failed; a configuration with a failed trial is not chosen."
        )
    return sentences


def cost(trials: pd.DataFrame) -> str:
    """The states of the trials and their CPU time, as text."""
    ran = trials[trials["state"] == "ran"]
    counts = trials["state"].value_counts()
    states = ", ".join(f"{counts[name]} {name}" for name in ("ran", "reused", "failed") if name in counts)
    return f"{states}; those that ran took {duration(float(ran['cpu_seconds'].sum()))} of CPU time"


def _leaderboard_rows(leaderboard: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "configuration": row.varied or "as given",
            "val accuracy": _percent(row.mean_),
            "deviation": "" if pd.isna(row.deviation) else f"{100 * row.deviation:.2f}",
            "95 % over seeds": _range(row.low, row.high),
            "95 % of the images": _range(row.image_low, row.image_high),
            "val loss": "" if pd.isna(row.val_loss) else f"{row.val_loss:.4f}",
            "seeds": f"{row.seeds}" + (f", {row.failed} failed" if row.failed else ""),
            "CPU-seconds": "" if pd.isna(row.cpu_seconds) else f"{row.cpu_seconds:.1f}",
            "": "chosen" if position == 0 else "close" if row.close else "",
        }
        for position, row in enumerate(leaderboard.rename(columns={"mean": "mean_"}).itertuples())
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


def _markdown(tensors: TensorCache, sentences: list[str], rows: list[dict[str, str]], picture: bytes) -> str:
    names = list(rows[0])
    body = ["| " + " | ".join(markdown(row[name]) for name in names) + " |" for row in rows[:SHOWN]]
    header = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    plot = f"![accuracy on val by configuration]({plots.data_uri(picture)})"
    return "\n\n".join(
        [f"## Sweep of {markdown(tensors.dataset)}", " ".join(sentences), plot, "\n".join(header + body)]
    )


def _percent(share: float) -> str:
    return "" if pd.isna(share) else shares.percent(share)


def _range(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"{100 * low:.2f} to {100 * high:.2f}"
