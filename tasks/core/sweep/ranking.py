"""Ranks the trials of a sweep and chooses one, using only the validation images.

The rule: choose the configuration with the highest mean accuracy of its trials on the validation images, and
the best trial of that configuration. Ties are resolved by the lower loss, then by the order of the sweep. A
configuration with a failed trial is not chosen.
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

EQUAL_DECIMALS = 12  # the order of summation changes the further decimals of a mean


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Args:
        trial: The trial.
        trained: The model; None if the trial failed.
        error: Why the trial failed; empty otherwise.
        reused: Whether an earlier run trained the model.
    """

    trial: Trial
    trained: TrainedModel | None = None
    error: str = ""
    reused: bool = False


def trials_table(
    results: Sequence[TrialResult], tensors: TensorCache, audit: Audit, runner: str
) -> pd.DataFrame:
    """One row per trial, with columns of the table `trials`; `chosen` marks the trial that the rule selects.

    Args:
        results: The results of all trials.
        tensors: The tensors that the trials used.
        audit: The audit, which knows the leaking validation images.
        runner: Name of the runner of the sweep.

    Raises:
        TrainingError: Every configuration has a failed trial.
    """
    rows = [_row(result, tensors, audit) for result in results]
    trials = pd.DataFrame(rows).assign(tensors=tensors.digest, runner=runner)
    low, high = intervals.wilson(_correct_counts(trials), trials["images"].to_numpy())
    trials = trials.assign(val_accuracy_low=low, val_accuracy_high=high)
    return trials.assign(chosen=trials["trial"] == _choice(trials))


def best_trial(trials: pd.DataFrame) -> int:
    """Number of the chosen trial."""
    return int(trials["trial"][trials["chosen"]].iloc[0])


def leaderboard(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per configuration, best first.

    Args:
        trials: As `trials_table` returns them.

    Returns:
        Columns:
        configuration, varied;
        seeds: number of finished trials;
        failed: number of failed trials;
        mean, deviation: of the accuracy over seeds, 0..1; the deviation of one seed is null;
        low, high: 95 % interval of the mean over seeds by Student's t, within 0..1; null for one seed;
        image_low, image_high: 95 % interval of the mean as a rate of the validation images (Wilson);
        images: number of validation images;
        val_loss, cpu_seconds: means over the trials;
        close: whether the difference to the best is not significant at 95 % on this number of images. All
        configurations use the same images, so the true noise is smaller.
    """
    rows = [_leaderboard_row(number, group) for number, group in trials.groupby("configuration")]
    ranked = pd.DataFrame(rows).sort_values(["failed", "order"], kind="stable", ignore_index=True)
    variance = ranked["mean"] * (1 - ranked["mean"]) / ranked["images"]
    margin = ndtri(0.5 + intervals.LEVEL / 2) * np.sqrt(variance + variance.iloc[0])
    close = ranked["mean"].iloc[0] - ranked["mean"] <= margin
    return ranked.drop(columns="order").assign(close=close)


def _row(result: TrialResult, tensors: TensorCache, audit: Audit) -> dict[str, Any]:
    trial, trained = result.trial, result.trained
    row: dict[str, Any] = {
        "trial": trial.number,
        "configuration": trial.configuration,
        "varied": trial.label,
        "parameters": space.as_json(trial.settings),
        "recipe": trial.settings.recipe.value,
        "seed": trial.settings.seed,
        "state": "failed" if trained is None else "reused" if result.reused else "ran",
        "error": result.error or None,
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
    """Validation loss of the final weights: of the best epoch with early stopping, else of the last."""
    losses = pd.read_parquet(trained.directory / TrainedModel.HISTORY)["val_loss"]
    early = trained.manifest["ingredients"]["parameters"].get("patience")
    return float(losses.min() if early else losses.iloc[-1])


def _leaks(audit: Audit) -> int:
    return int(duplicate_table.read_mask(duplicate_table.leaks_path(audit, "val")).sum())


def _correct_counts(trials: pd.DataFrame) -> Any:
    return np.rint(trials["val_accuracy"].to_numpy(float) * trials["images"].to_numpy())


def _choice(trials: pd.DataFrame) -> int:
    complete = trials.groupby("configuration").filter(lambda group: group["val_accuracy"].notna().all())
    if complete.empty:
        failed = trials[trials["val_accuracy"].isna()]
        raise TrainingError(
            "every configuration of the sweep has a failed trial",
            expected="at least one configuration without a failed trial",
            found="; ".join(
                f"{row.varied or 'seed'} (seed {row.seed}): {row.error}" for row in failed.itertuples()
            ),
            done="the trained models are kept, and the next sweep reuses them",
        )
    means = (
        complete.groupby("configuration")[["val_accuracy", "val_loss"]]
        .mean()
        .round(EQUAL_DECIMALS)
        .reset_index()
    )
    best = means.sort_values(["val_accuracy", "val_loss", "configuration"], ascending=[False, True, True])
    candidates = complete[complete["configuration"] == best["configuration"].iloc[0]]
    ranked = candidates.sort_values(["val_accuracy", "val_loss", "trial"], ascending=[False, True, True])
    return int(ranked["trial"].iloc[0])


def _leaderboard_row(number: Any, group: pd.DataFrame) -> dict[str, Any]:
    values = group["val_accuracy"].dropna().to_numpy()
    count, images = len(values), int(group["images"].iloc[0])
    mean = float(values.mean()) if count else np.nan
    deviation = float(values.std(ddof=1)) if count > 1 else np.nan
    half_width = (
        stdtrit(count - 1, 0.5 + intervals.LEVEL / 2) * deviation / np.sqrt(count) if count > 1 else np.nan
    )
    low, high = intervals.wilson(np.array(mean * images), np.array(images))
    loss = float(group["val_loss"].mean())
    return {
        "configuration": number,
        "varied": group["varied"].iloc[0],
        "seeds": count,
        "failed": len(group) - count,
        "mean": mean,
        "deviation": deviation,
        "low": float(np.clip(mean - half_width, 0, 1)),
        "high": float(np.clip(mean + half_width, 0, 1)),
        "image_low": float(low),
        "image_high": float(high),
        "images": images,
        "val_loss": loss,
        "cpu_seconds": float(group["cpu_seconds"].mean()) if "cpu_seconds" in group else np.nan,
        "order": (-round(mean, EQUAL_DECIMALS), round(loss, EQUAL_DECIMALS), number)
        if count
        else (np.inf, np.inf, number),
    }
