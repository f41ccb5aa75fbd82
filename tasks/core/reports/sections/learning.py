"""What a report says of the training: its curves, and whether the two losses can be compared."""

from typing import Any

from tasks.core import shares
from tasks.core.reports import plots
from tasks.core.reports.inputs import ReportInputs
from tasks.core.runs import record


def learning(inputs: ReportInputs) -> dict[str, Any]:
    """The learning curves as SVG, for the metrics that the history has, and a sentence on the losses."""
    history = record.history(inputs.trained)
    if len(history) < 2:
        return {"curves": [], "losses": ""}
    columns = set(history.columns)
    metrics = [name for name in ("accuracy", "loss") if {f"train_{name}", f"val_{name}"} & columns]
    return {
        "curves": [plots.learning_curve(history, name) for name in metrics],
        "losses": _losses(inputs) + _views(inputs) if {"train_loss", "val_loss"} <= columns else "",
    }


def _recipe(inputs: ReportInputs) -> dict[str, Any]:
    """The recipe's values; without any for a network's features."""
    return dict(inputs.trained.manifest["ingredients"].get("parameters", {}))


def _views(inputs: ReportInputs) -> str:
    """Why validation takes a step in the last epoch, if it does (`training.evaluator`)."""
    recipe, colour = _recipe(inputs), inputs.trained.manifest["facts"]["shape"][-1] == 3
    if not colour or recipe.get("tta_views", 1) == 1 or recipe.get("patience"):
        return ""
    return (
        " The model averages several views of an image. Validation takes one of them before the last epoch, "
        "so that its curve takes a step at the end."
    )


def _losses(inputs: ReportInputs) -> str:
    recipe = _recipe(inputs)
    smoothing, augment = recipe.get("label_smoothing", 0), recipe.get("augment", "none")
    reasons = [f"labels smoothed by {shares.percent(smoothing, 0)}"] if smoothing else []
    reasons += ["augmented images"] if augment != "none" else []
    if not reasons:
        return (
            "The train loss is a mean over the epoch, while the weights change; the val loss is that at the "
            "end of the epoch. Apart from that the two are comparable."
        )
    return (
        f"The two losses are not comparable: the train loss is that of {' and '.join(reasons)}, a mean over "
        "the epoch, while the weights change; the val loss is that of plain images and labels at the end of "
        "the epoch."
    )
