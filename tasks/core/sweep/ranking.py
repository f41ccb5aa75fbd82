"""A sweep's trials side by side, and which of them is chosen: by the validation images alone.

The rule: the configuration whose trials have the highest mean accuracy on the validation images, of its
trials the best one; lower loss, then the order of the sweep, decide between equals. A configuration of which
a trial failed is not chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from tasks.core.data.audit import duplicate_table
from tasks.core.errors import TrainingError
from tasks.core.metrics import intervals
from tasks.core.stage.handles import Audit, TensorCache, TrainedModel
from tasks.core.sweep import space
from tasks.core.sweep.space import Trial

HISTORY = "history.parquet"
EQUAL_DECIMALS = 12  # decimals; means of the same accuracies differ beyond them by the order of their sum


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial.

    Args:
        trained: The model; None if the trial failed.
        error: Why it failed.
        reused: Whether an earlier run had trained it.
    """

    trial: Trial
    trained: TrainedModel | None = None
    error: str = ""
    reused: bool = False


def trials_table(
    outcomes: Sequence[TrialResult], tensors: TensorCache, audit: Audit, runner: str
) -> pd.DataFrame:
    """The trials in the columns of the table `trials`, with `chosen` as the rule says.

    Raises:
        TrainingError: No configuration has all its trials.
    """
    rows = [_row(outcome, tensors, audit) for outcome in outcomes]
    trials = pd.DataFrame(rows).assign(tensors=tensors.digest, runner=runner)
    low, high = intervals.wilson(_correct_counts(trials), trials["images"].to_numpy())
    trials = trials.assign(val_accuracy_low=low, val_accuracy_high=high)
    return trials.assign(chosen=trials["trial"] == _choice(trials))


def best_trial(trials: pd.DataFrame) -> int:
    """Number of the trial that `trials_table` has chosen."""
    return int(trials["trial"][trials["chosen"]].iloc[0])


def leaderboard(trials: pd.DataFrame) -> pd.DataFrame:
    """The configurations, best first.

    Args:
        trials: As `trials_table` gives them.

    Returns:
        configuration, varied, seeds (finished trials), failed (trials), mean, deviation (of the accuracy
        over seeds; null for one), low, high (95 % interval of that mean over seeds by Student's t; null for
        one), image_low, image_high (95 % interval of the mean as a rate of the validation images, Wilson),
        val_loss (mean), cpu_seconds (mean), close (whether its distance to the best is within what the
        validation images can tell, at 95 %; they are the same for all, so the true noise is smaller).
    """
    rows = [_leaderboard_row(number, some) for number, some in trials.groupby("configuration")]
    ranked = pd.DataFrame(rows).sort_values(["failed", "order"], kind="stable", ignore_index=True)
    variance = ranked["mean"] * (1 - ranked["mean"]) / ranked["images"]
    reach = ndtri(0.5 + intervals.LEVEL / 2) * np.sqrt(variance + variance.iloc[0])
    close = ranked["mean"].iloc[0] - ranked["mean"] <= reach
    return ranked.drop(columns="order").assign(close=close)


def _row(outcome: TrialResult, tensors: TensorCache, audit: Audit) -> dict[str, Any]:
    trial, trained = outcome.trial, outcome.trained
    row: dict[str, Any] = {
        "trial": trial.number,
        "configuration": trial.configuration,
        "varied": trial.label,
        "parameters": space.as_json(trial.settings),
        "recipe": trial.settings.recipe.value,
        "seed": trial.settings.seed,
        "state": "failed" if trained is None else "reused" if outcome.reused else "ran",
        "error": outcome.error or None,
        "images": tensors.val - (_leaks(audit) if trial.settings.drop_leaks else 0),
        "training": None,
        "val_accuracy": np.nan,
        "val_loss": np.nan,
    }
    if trained is None:
        return row
    return row | {
        "training": trained.digest,
        "epochs": trained.epochs,
        "val_accuracy": trained.val_accuracy,
        "val_loss": _val_loss(trained),
        **trained.manifest["cost"],
    }


def _val_loss(trained: TrainedModel) -> float:
    """Of the epoch whose weights were taken: the best one if training was to stop early, else the last."""
    losses = pd.read_parquet(trained.directory / HISTORY)["val_loss"]
    early = trained.manifest["ingredients"]["parameters"]["patience"]
    return float(losses.min() if early else losses.iloc[-1])


def _leaks(audit: Audit) -> int:
    return int(duplicate_table.read_mask(duplicate_table.leaks_path(audit, "val")).sum())


def _correct_counts(trials: pd.DataFrame) -> Any:
    return np.rint(trials["val_accuracy"].to_numpy(float) * trials["images"].to_numpy())


def _choice(trials: pd.DataFrame) -> int:
    whole = trials.groupby("configuration").filter(lambda some: some["val_accuracy"].notna().all())
    if whole.empty:
        failed = trials[trials["val_accuracy"].isna()]
        raise TrainingError(
            "no parameters of the sweep could be trained",
            expected="all trials of one configuration at least",
            found="; ".join(
                f"{row.varied or 'seed'} (seed {row.seed}): {row.error}" for row in failed.itertuples()
            ),
            done="what was trained is kept, and reused by the next sweep",
        )
    means = (
        whole.groupby("configuration")[["val_accuracy", "val_loss"]]
        .mean()
        .round(EQUAL_DECIMALS)
        .reset_index()
    )
    best = means.sort_values(["val_accuracy", "val_loss", "configuration"], ascending=[False, True, True])
    among = whole[whole["configuration"] == best["configuration"].iloc[0]]
    ranked = among.sort_values(["val_accuracy", "val_loss", "trial"], ascending=[False, True, True])
    return int(ranked["trial"].iloc[0])


def _leaderboard_row(number: Any, some: pd.DataFrame) -> dict[str, Any]:
    values = some["val_accuracy"].dropna().to_numpy()
    count, images = len(values), int(some["images"].iloc[0])
    mean = float(values.mean()) if count else np.nan
    deviation = float(values.std(ddof=1)) if count > 1 else np.nan
    reach = (
        stdtrit(count - 1, 0.5 + intervals.LEVEL / 2) * deviation / np.sqrt(count) if count > 1 else np.nan
    )
    low, high = intervals.wilson(np.array(mean * images), np.array(images))
    loss = float(some["val_loss"].mean())
    return {
        "configuration": number,
        "varied": some["varied"].iloc[0],
        "seeds": count,
        "failed": len(some) - count,
        "mean": mean,
        "deviation": deviation,
        "low": mean - reach,
        "high": mean + reach,
        "image_low": float(low),
        "image_high": float(high),
        "images": images,
        "val_loss": loss,
        "cpu_seconds": float(some["cpu_seconds"].mean()) if "cpu_seconds" in some else np.nan,
        "order": (-round(mean, EQUAL_DECIMALS), round(loss, EQUAL_DECIMALS), number)
        if count
        else (np.inf, np.inf, number),
    }
