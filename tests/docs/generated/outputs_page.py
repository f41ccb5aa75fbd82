"""docs/outputs.md: the folders and files of a workspace, and the columns of its tables."""

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

from tasks.core.data.audit import duplicate_table
from tasks.core.data.files import quarantine_table
from tasks.core.data.tensors import normalize
from tasks.core.model.inference import prediction_rows
from tasks.core.reports import label_next
from tasks.core.runs.columns import schemas
from tests.docs.generated import workspace_tree

ROWS = {
    "split": '"train", "val" or "test"',
    "row": "row of the image in the arrays of its split",
    "image_id": "SHA-256 of the image's content",
    "path": "where the image is in the source",
    "label": "number of the class",
    "class_name": "name of the class",
    "height": "height of the original image after orientation, pixels",
    "width": "width of the original image after orientation, pixels",
    "channels": "1 if the original image is grey, else 3",
}
QUARANTINE = {
    "path": "where the file or the image is in the source",
    "reason": "what it is, or what is wrong with it",
    "done": "whether it was left out or kept",
}
DUPLICATES = {
    "split_a": "split of the first image",
    "row_a": "row of the first image in the arrays of its split",
    "split_b": "split of the second image: the same, or a later one of train, val, test",
    "row_b": "row of the second image in the arrays of its split",
    "kind": '"exact": the same content; "near": alike; "similar": one scene, by features',
    "distance": "0 if exact; else above 0 and at most 1, which is the largest distance that counts",
}
ISSUES = {
    "split": ("string", '"train", "val" or "test"'),
    "row": ("int64", "row of the image in the arrays of its split"),
    "label": ("int32", "number of the given class"),
    "class_name": ("string", "name of the given class"),
    "suggested_label": ("int64", "number of the most probable other class"),
    "suggested_class_name": ("string", "name of the most probable other class"),
    "probability": ("double", "probability of the given class, 0..1"),
    "suggested_probability": ("double", "probability of the suggested class, 0..1"),
    "wrong_probability": ("double", "estimated probability that the given label is wrong, 0..1"),
    "image_id": ("string", "SHA-256 of the image's content"),
    "path": ("string", "where the image is in the source"),
}
PREDICTIONS = {
    "path": "absolute path, or address, of the file",
    "row": "row in a parquet file; null for an image file",
    "predicted_label": "number of the predicted class; null without an answer",
    "predicted_class_name": "name of the predicted class; null without an answer",
    "probability": "probability of the predicted class, without an answer of the most probable, 0..1",
    "probabilities": "probability of every class, in the order of the model's classes",
    "abstained": "whether the model gave no answer because it is not sure enough",
    "problem": "why the image is unreadable; otherwise null",
    "model": "version of the model",
    "decision": '"most probable class" or "operating point"',
}
LABEL_NEXT = {
    "rank": "order of the choice, from 1",
    "path": "absolute path, or address, of the file",
    "row": "row in a parquet file; null for an image file",
    "predicted_class_name": "name of the most probable class",
    "probability": "its probability, 0..1",
    "second_class_name": "name of the second most probable class",
    "second_probability": "its probability, 0..1",
    "margin": "difference of the two probabilities, 0..1",
}
TABLES = {
    "runs": "One row per run.",
    "epochs": "One row per epoch of every training.",
    "classes": "One row per class of val and test, and of an evaluation.",
    "operating_points": "One row per class and decision: rates of the class against the rest on test.",
    "slices": "One row per slice of test, worst first, and one per class of each; only with other columns.",
    "predictions": "One row per image of val and test, and of an evaluation.",
    "candidates": "One row per recipe that `--recipe auto` compared or left out.",
    "leaderboard": "One row per recipe that was cross-validated over all images, and one for their choice.",
    "trials": "One row per trial of a sweep.",
    "evaluations": "One row per `plumbline evaluate`: a version on other images.",
}
OUTPUTS = """\
# Outputs

This page says what lies in a workspace, and which columns the tables have. It is written by
`python tests/docs/generate.py`.

The workspace is `./workspace`, or what `--workspace` or the environment variable `PLUMBLINE_WORKSPACE` says.
`<digest>` stands for the digest of everything that decides the output
([Architecture](architecture.md#the-stage-contract)). Every such folder also has a `manifest.json`: the
SHA-256 of each file, the ingredients, and what the output cost.

## Workspace

```text
{tree}
```

Names that begin with a dot are locks, caches of hashes, and files that are being written.

## Read the tables

Each of these reads a whole table:

```python
pandas.read_parquet("workspace/metrics/runs")
pyarrow.parquet.read_table("workspace/metrics/runs")
polars.read_parquet("workspace/metrics/runs/*/*.parquet", hive_partitioning=True, missing_columns="insert")
duckdb.sql("from read_parquet('workspace/metrics/runs/**/*.parquet', union_by_name=true)")
```

Each reads only the columns and rows that are asked for:

```python
columns = ["dataset", "test_accuracy"]
pandas.read_parquet("workspace/metrics/runs", columns=columns, filters=[("seed", "==", 3)])
```

The column `dataset` comes from the name of the folder. A table only gains columns; rows of older runs have
null there. `evaluation` joins the tables `runs`, `epochs`, `classes` and `predictions`,
and those of `plumbline evaluate` with `evaluations`.

A part of a table has the rows of many runs, up to 1 MB or 1,000 rows. A run adds its rows by replacing the
last part in one rename, so a reader sees each row once, whenever it reads. Polars opens a file more than
once: at the very moment of a rename it may say that the file is not parquet; read again then. A reader that
has listed parts of an earlier version (one for each run) while they are folded may get an error that a file
is missing, once. In a workspace at an address the store has one object for each run, and the mirror on each
machine has few parts.

## Metrics tables

{metrics}

## Tables of the stages

### tensors/&lt;digest&gt;/rows.parquet

One row per image. {rows}

Where the data have [groups](data.md#groups), a column `group` follows: the name of the image's group as text,
null if it is its own. Each [other column](data.md#other-columns) of the source follows as
`attribute_<name>`, text.

### quarantine.parquet, of raw/&lt;digest&gt; and tensors/&lt;digest&gt;

That of a listing has one row per file that is no image, that of tensors one per image with a problem
([Data](data.md#quarantine)). {quarantine}

### duplicates.parquet, of audits/&lt;digest&gt; and feature_audits/&lt;digest&gt;

One row per pair of duplicates, the closest first; the pairs by features are the last. {duplicates}

### label_issues/&lt;digest&gt;/label_issues.parquet

One row per image whose label is in doubt, the most probably wrong label first. {issues}

`label_issues.csv` has `image_id`, `path`, `class_name`, `suggested_class_name` and `wrong_probability` of the
same rows, and an empty column `corrected_class_name` ([Data](data.md#correct-labels)).

## Batch predictions

`plumbline predict` adds one row per image to the folder `--out`, which opens as one table:
`pandas.read_parquet("predictions")`. {predictions}

With `--label-next`, a batch has a table of images that are worth a label, `_label_next.parquet`, and a
contact sheet of them, `_label_next.html` ([Prediction](predict-and-drift.md#label-next)). {label_next}
"""


def columns(rows: Iterable[tuple[str, object, str]]) -> str:
    """A Markdown table of columns, after an empty line."""
    lines = [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows]
    return "\n".join(["\n\n| column | type | meaning |", "|---|---|---|", *lines]).lstrip(" ")


def columns_of(schema: pa.Schema, meanings: Mapping[str, str]) -> str:
    """The columns of a schema; `meanings` must name the same ones."""
    assert list(meanings) == schema.names, f"{schema.names} have other meanings: {list(meanings)}"
    return columns((field.name, field.type, meanings[field.name]) for field in schema)


def page() -> str:
    """The text of docs/outputs.md."""
    assert list(TABLES) == list(schemas.SCHEMAS)
    metrics = [f"### {name}\n\n{text}\n\n{schemas.columns_markdown(name)}" for name, text in TABLES.items()]
    text = OUTPUTS.format(
        tree=workspace_tree.tree(),
        metrics="\n\n".join(metrics),
        rows=columns_of(normalize.ROW_SCHEMA, ROWS),
        quarantine=columns_of(quarantine_table.SCHEMA, QUARANTINE),
        duplicates=columns_of(duplicate_table.SCHEMA, DUPLICATES),
        issues=columns((name, *column) for name, column in ISSUES.items()),
        label_next=columns_of(label_next.SCHEMA, LABEL_NEXT),
        predictions=columns_of(prediction_rows.SCHEMA, PREDICTIONS),
    )
    # Versions of pyarrow differ in the name of a list's values.
    return re.sub(r"list<\w+: (\w+)>", r"list of \1", text.replace(" \n", "\n"))
