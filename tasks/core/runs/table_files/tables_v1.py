"""Converts parts of the metrics tables that Plumbline 0.1.0 wrote: the same rows under other names."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

COLUMNS = {
    "runs": {
        "images": "test_images",
        "accuracy": "test_accuracy",
        "accuracy_low": "test_accuracy_low",
        "accuracy_high": "test_accuracy_high",
        "macro_f1": "test_macro_f1",
        "log_loss": "test_log_loss",
    },
    "epochs": {"loss": "train_loss", "accuracy": "train_accuracy"},
    "classes": {"class": "class_name", "predicted": "predicted_count"},
    "predictions": {
        "class": "class_name",
        "predicted": "predicted_label",
        "predicted_class": "predicted_class_name",
    },
}
STAGES = {"suspect": "label_issues", "fold": "cross_predict"}
STATES = {"stands": "skipped"}
RECIPES = {"seed": "textbook"}


def upgraded(table: str, part: pa.Table, schema: pa.Schema) -> pa.Table:
    """A part with the present names of columns, stages and recipes; the figures do not change.

    Args:
        table: Name of the table.
        part: The part as version 1 wrote it.
        schema: The present schema of the table.
    """
    names = COLUMNS.get(table, {})
    part = part.rename_columns([names.get(name, name) for name in part.column_names])
    for name, change in VALUES.items():
        if name in part.column_names and name in schema.names:
            index, column_type = part.column_names.index(name), part.schema.field(name).type
            values = [None if value is None else change(value) for value in part[name].to_pylist()]
            part = part.set_column(index, name, pa.array(values, column_type))
    columns = [
        part[field.name] if field.name in part.column_names else pa.nulls(len(part), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _recipe(name: str) -> str:
    return RECIPES.get(name, name)


def _parameters(text: str) -> str:
    parameters = json.loads(text)
    if "recipe" in parameters:
        parameters["recipe"] = _recipe(parameters["recipe"])
    return json.dumps(parameters)


def _stages(text: str) -> str:
    stages: Mapping[str, dict[str, Any]] = json.loads(text)
    renamed = {}
    for name, record in stages.items():
        stage, *role = name.split()
        state = STATES.get(record["state"], record["state"])
        renamed[" ".join([STAGES.get(stage, stage), *role])] = record | {"state": state}
    return json.dumps(renamed)


def _varied(text: str) -> str:
    return ", ".join(
        f"recipe={_recipe(part.removeprefix('recipe='))}" if part.startswith("recipe=") else part
        for part in text.split(", ")
    )


VALUES: dict[str, Callable[[str], str]] = {
    "recipe": _recipe,
    "parameters": _parameters,
    "stages": _stages,
    "varied": _varied,
}
