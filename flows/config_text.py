"""A TOML file of a command's options: each with its meaning as a comment, and its default."""

import json
import textwrap
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from tasks.core import recipes
from tasks.core.config import RecipeName
from tasks.parameters.flow_parameters import FlowParameter

WIDTH = 88  # characters of a comment's line
OF_RECIPE = ("epochs", "batch_size", "learning_rate", "patience")  # options that a recipe has values for


def toml(command: str, parameters: Sequence[FlowParameter], recipe: RecipeName | None = None) -> str:
    """The file; an option without a default is commented out.

    Args:
        command: The command, such as "train".
        parameters: Its options.
        recipe: The recipe to name, with its own values in the comments; None for the default one.
    """
    lines = [f"# Options of plumbline {command}, with their defaults: plumbline {command} --config FILE"]
    group = ""
    for parameter in parameters:
        if parameter.group != group:
            group = parameter.group
            lines += ["", f"# ---- {group} ----"]
        lines += ["", *textwrap.wrap(parameter.text, WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines.append(_line(parameter, recipe))
    return "\n".join(lines) + "\n"


def _line(parameter: FlowParameter, recipe: RecipeName | None) -> str:
    if parameter.name == "recipe" and recipe is not None:
        return f"recipe = {_literal(recipe)}"
    if parameter.default is not None:
        return f"{parameter.name} = {_literal(parameter.default)}"
    # A recipe fits its values to the number of images, so they are shown and not set.
    chosen = recipes.RECIPES.get(recipe) if recipe and parameter.name in OF_RECIPE else None
    return f"# {parameter.name} = {_literal(getattr(chosen, parameter.name)) if chosen else ''}".rstrip()


def _literal(value: Any) -> str:
    """A value as TOML; a string of JSON is one of TOML, too."""
    if isinstance(value, Enum | Path):
        value = str(value)
    return json.dumps(value)
