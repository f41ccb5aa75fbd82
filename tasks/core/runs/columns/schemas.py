"""The columns of all metrics tables, with their types and meanings. A schema only gains columns."""

import pyarrow as pa

from tasks.core.metrics.declared import declarations
from tasks.core.runs.columns import evaluation_columns, operating_points, slice_columns
from tasks.core.runs.table_files import upgrading

UTC = pa.timestamp("us", tz="UTC")


def _schema(*columns: tuple[str, pa.DataType, str]) -> pa.Schema:
    fields = [
        pa.field(name, data_type, metadata={"meaning": meaning}) for name, data_type, meaning in columns
    ]
    return pa.schema(fields, metadata={upgrading.SCHEMA_VERSION: str(upgrading.VERSION)})


_RUN = ("run_id", pa.string(), "the run that wrote the row")
_EVALUATION = ("evaluation", pa.string(), "digest of the evaluation: joins the tables")

SCHEMAS = {
    "runs": _schema(
        _RUN,
        ("started", UTC, "when the run started, UTC"),
        ("recipe", pa.string(), "name of the recipe"),
        ("parameters", pa.string(), "JSON: the parameters that the run was called with"),
        ("seed", pa.int64(), "seed of the training"),
        _EVALUATION,
        ("tensors", pa.string(), "digest of the tensors"),
        ("training", pa.string(), "digest of the training"),
        ("test_images", pa.int64(), "number of test images"),
        *((name, pa.float64(), f"test: {meaning}") for name, meaning in declarations.columns("test_")),
        (
            "detectable_difference",
            pa.float64(),
            "difference that the test finds in 80 % of cases; null: none",
        ),
        ("cross_validated_recipe", pa.string(), '"auto" if chosen inside the folds; null without'),
        ("cross_validated_accuracy", pa.float64(), "accuracy over all images by cross-validation, 0..1"),
        ("cross_validated_low", pa.float64(), "lower end of its 95 % interval (Wilson, of groups if any)"),
        ("cross_validated_high", pa.float64(), "upper end of its 95 % interval"),
        ("cross_validated_images", pa.int64(), "number of these images: train, val and test"),
        ("version", pa.string(), "version of the model"),
        ("champion", pa.string(), "version of the champion after the run"),
        ("promoted", pa.bool_(), "whether the run's model became champion"),
        ("verdict", pa.string(), "the gate's decision in words"),
        ("report", pa.string(), "path of the report, relative to the workspace"),
        ("wall_seconds", pa.float64(), "wall time of the run, seconds"),
        ("cpu_seconds", pa.float64(), "CPU time of the run, seconds, all threads"),
        ("peak_memory_mb", pa.float64(), "peak resident memory of the run, MB"),
        ("stages", pa.string(), "JSON: for each stage its digest, state, seconds, cpu_seconds"),
        ("flow_run_id", pa.string(), "Prefect's id of the flow run"),
        ("source", pa.string(), "SHA-256 of Plumbline's own source files"),
        ("git_commit", pa.string(), "commit of the code; null outside a git checkout"),
        ("packages", pa.string(), "JSON: versions of the installed libraries that matter"),
        ("device", pa.string(), "what the training ran on"),
        ("sweep", pa.string(), "the sweep that chose the training; null for a run of its own"),
        ("precision", pa.string(), "what the training calculated in: auto is resolved"),
        ("threads", pa.int64(), "number of threads of the training's calculations"),
        ("processor", pa.string(), "what decides the training's bits: the GPU, or the CPU's instructions"),
        ("python", pa.string(), "version of Python"),
        ("distributions", pa.string(), "JSON: versions of all installed packages"),
        ("folder", pa.string(), "where the run was called: relative paths in parameters start there"),
    ),
    "epochs": _schema(
        _RUN,
        _EVALUATION,
        ("epoch", pa.float64(), "epochs done at the end of this one; the last may be a fraction"),
        ("train_loss", pa.float64(), "training loss, mean over the epoch"),
        ("train_accuracy", pa.float64(), "training accuracy over the epoch, 0..1"),
        ("val_loss", pa.float64(), "loss on the validation images at the end of the epoch"),
        ("val_accuracy", pa.float64(), "accuracy on the validation images at the end of the epoch, 0..1"),
        ("learning_rate", pa.float64(), "learning rate at the end of the epoch"),
        ("seconds", pa.float64(), "wall time of the epoch, seconds"),
        ("images_per_second", pa.float64(), "training images a second of wall time"),
        ("training", pa.string(), "digest of the training"),
        ("sweep", pa.string(), "the sweep that the training was a trial of; null for a run of its own"),
    ),
    "classes": _schema(
        _RUN,
        _EVALUATION,
        ("split", pa.string(), '"test", "val", or "evaluated" by `plumbline evaluate`'),
        ("label", pa.int32(), "number of the class"),
        ("class_name", pa.string(), "name of the class"),
        ("support", pa.int64(), "images of the class"),
        ("predicted_count", pa.int64(), "images of which the model says this class"),
        ("precision", pa.float64(), "0..1; null if never predicted"),
        ("precision_low", pa.float64(), "lower end of its 95 % interval (Clopper-Pearson)"),
        ("precision_high", pa.float64(), "upper end"),
        ("recall", pa.float64(), "0..1; null if the class has no image"),
        ("recall_low", pa.float64(), "lower end of its 95 % interval (Clopper-Pearson)"),
        ("recall_high", pa.float64(), "upper end"),
        ("f1", pa.float64(), "0..1; null if neither"),
        ("f1_low", pa.float64(), "lower end of its 95 % interval (exact)"),
        ("f1_high", pa.float64(), "upper end"),
        ("roc_auc", pa.float64(), "of test: area under the ROC curve, against the rest, 0..1"),
        ("roc_auc_low", pa.float64(), "lower end of its 95 % interval (DeLong)"),
        ("roc_auc_high", pa.float64(), "upper end"),
        ("average_precision", pa.float64(), "of test: area under the precision-recall curve, 0..1"),
        ("average_precision_low", pa.float64(), "lower end of its 95 % interval (influence, logit scale)"),
        ("average_precision_high", pa.float64(), "upper end"),
    ),
    "operating_points": _schema(_RUN, _EVALUATION, *operating_points.COLUMNS),
    "slices": _schema(_RUN, _EVALUATION, *slice_columns.COLUMNS),
    "predictions": _schema(
        _RUN,
        _EVALUATION,
        ("version", pa.string(), "version of the model"),
        ("split", pa.string(), '"test", "val", or "evaluated" by `plumbline evaluate`'),
        ("row", pa.int64(), "row of the image in the split's tensors"),
        ("image_id", pa.string(), "id of the image: follows from its content"),
        ("path", pa.string(), "where the image came from"),
        ("label", pa.int32(), "number of the true class"),
        ("class_name", pa.string(), "name of the true class"),
        ("predicted_label", pa.int32(), "number of the predicted class"),
        ("predicted_class_name", pa.string(), "name of the predicted class"),
        ("probability", pa.float32(), "probability of the predicted class, 0..1"),
        ("probabilities", pa.list_(pa.float32()), "probability of every class"),
        ("loss", pa.float64(), "cross-entropy of the image, nats"),
        ("margin", pa.float64(), "probability of the true class minus the largest other, -1..1"),
        ("group", pa.string(), "name of the image's group; null if it is its own, or there are no groups"),
    ),
    "candidates": _schema(
        _RUN,
        _EVALUATION,
        ("selection", pa.string(), "digest of the comparison"),
        ("recipe", pa.string(), "name of the recipe"),
        ("state", pa.string(), '"compared", "over budget" or "too few images"'),
        ("images", pa.int64(), "number of train and val images that no candidate had seen"),
        ("accuracy", pa.float64(), "accuracy on these images, 0..1; null if it was not compared"),
        ("low", pa.float64(), "lower end of its 95 % interval (Wilson)"),
        ("high", pa.float64(), "upper end of its 95 % interval (Wilson)"),
        ("log_loss", pa.float64(), "log loss on these images, nats"),
        ("estimated_minutes", pa.float64(), "estimated time of its comparison and its training"),
        ("cpu_seconds", pa.float64(), "CPU time of the comparison, seconds"),
        ("wall_seconds", pa.float64(), "wall time of the comparison, seconds"),
        ("chosen", pa.bool_(), "whether it was trained on all train images and evaluated"),
    ),
    "leaderboard": _schema(
        _RUN,
        _EVALUATION,
        ("cross_validation", pa.string(), "digest of the cross-validation"),
        ("recipe", pa.string(), 'name of the recipe; "auto": chosen in each fold by the other folds'),
        ("accuracy", pa.float64(), "accuracy over all images, each by a model that has not seen it, 0..1"),
        ("low", pa.float64(), "lower end of its 95 % interval (Wilson, of groups if any)"),
        ("high", pa.float64(), "upper end of its 95 % interval"),
        ("log_loss", pa.float64(), "log loss over all images, nats"),
        ("images", pa.int64(), "number of images: train, val and test"),
        ("groups", pa.int64(), "number of groups of images; an image alone is one"),
        ("folds", pa.int64(), "number of folds"),
        ("folds_chosen", pa.int64(), "folds in which the others choose the recipe; null for a single one"),
        ("cpu_seconds", pa.float64(), "CPU time of all its folds, seconds"),
        ("wall_seconds", pa.float64(), "wall time of all its folds, seconds"),
        ("scored", pa.bool_(), "whether the row is the run's cross_validated_accuracy"),
    ),
    "trials": _schema(
        _RUN,
        ("trial", pa.int32(), "number of the trial, from 1"),
        (
            "configuration",
            pa.int32(),
            "number of the parameters, from 1: trials that differ in the seed share it",
        ),
        ("varied", pa.string(), "the parameters that the sweep varied, as name=value, ..."),
        ("parameters", pa.string(), "JSON: the parameters of the training"),
        ("recipe", pa.string(), "name of the recipe"),
        ("seed", pa.int64(), "seed of the training"),
        ("tensors", pa.string(), "digest of the tensors"),
        ("training", pa.string(), "digest of the training: joins runs and epochs"),
        ("state", pa.string(), '"ran", "reused" (an earlier run had made it) or "failed"'),
        ("error", pa.string(), "why it failed"),
        ("epochs", pa.float64(), "epochs trained"),
        ("images", pa.int64(), "number of validation images"),
        ("val_accuracy", pa.float64(), "accuracy on the validation images, 0..1"),
        ("val_accuracy_low", pa.float64(), "lower end of its 95 % interval (Wilson)"),
        ("val_accuracy_high", pa.float64(), "upper end of its 95 % interval (Wilson)"),
        ("val_loss", pa.float64(), "loss on the validation images"),
        ("chosen", pa.bool_(), "whether it was chosen, and evaluated on the test images"),
        ("wall_seconds", pa.float64(), "wall time of the training when it was made, seconds"),
        ("cpu_seconds", pa.float64(), "CPU time of the training when it was made, seconds"),
        ("peak_memory_mb", pa.float64(), "peak resident memory of its process, MB"),
        ("runner", pa.string(), "where the sweep ran: sequence, processes, dask or ray"),
    ),
    "evaluations": _schema(_RUN, _EVALUATION, *evaluation_columns.COLUMNS),
}


def columns_markdown(table: str) -> str:
    """The columns of a table with their types and meanings, as a markdown table for the documentation."""
    rows = [
        f"| `{field.name}` | {field.type} | {field.metadata[b'meaning'].decode()} |"
        for field in SCHEMAS[table]
    ]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])
