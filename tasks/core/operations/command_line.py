"""Builds a command from the signature and the docstring of a function, and writes command lines."""

import inspect
import shlex
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import EnumType
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
import typer

from tasks.core.config import NormalizeSettings, PublishSettings, SourceSettings, TrainSettings
from tasks.core.workspace import is_address

# The type names in --help are short, so that the column of help texts is wide.
METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", Path: "PATH", bool: ""}
TRI_STATE = ("augment",)  # flags whose default the recipe decides: they have a --no- form


def documented(
    function: Callable[..., Any],
    run: Callable[..., Any],
    arguments: Collection[str] = (),
    groups: Mapping[str, str] | None = None,
    more: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Return a Typer command that has the signature of `function` and calls `run`.

    The help of each parameter is taken from the docstring's Args.

    Args:
        function: A function with type hints and a Google-style docstring. Its parameters without a default
            become arguments, the others options.
        run: Is called with the parameters as keywords.
        arguments: Parameters with a default that become arguments.
        groups: The heading in `--help`, by parameter.
        more: A function like `function` whose parameters are added: options of the command alone.
    """
    functions = [function, more] if more else [function]
    text = docstring_parser.parse(inspect.getdoc(function) or "")
    helps, hints, declared = _parameters_of(functions)

    def command(**parameters: Any) -> Any:
        return run(**parameters)

    annotated = {
        name: Annotated[
            hints[name],
            _typer_parameter(
                parameter, hints[name], helps[name], name in arguments, (groups or {}).get(name)
            ),
        ]
        for name, parameter in declared.items()
    }
    command.__annotations__ = annotated
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            parameter.replace(annotation=annotated[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in declared.items()
        ],
        return_annotation=None,
    )
    parts = [text.short_description, _unwrapped(text.long_description)]
    command.__doc__ = "\n\n".join(filter(None, parts))
    return command


def _parameters_of(
    functions: Iterable[Callable[..., Any]],
) -> tuple[dict[str, str | None], dict[str, Any], dict[str, inspect.Parameter]]:
    """Texts, types and parameters of several functions, by name."""
    helps: dict[str, str | None] = {}
    hints: dict[str, Any] = {}
    declared: dict[str, inspect.Parameter] = {}
    for function in functions:
        params = docstring_parser.parse(inspect.getdoc(function) or "").params
        helps |= {parameter.arg_name: parameter.description for parameter in params}
        hints |= inspect.get_annotations(function, eval_str=True)
        declared |= inspect.signature(function).parameters
    return helps, hints, declared


def examples(lines: Sequence[str]) -> str:
    """Command lines as the end of a command's help, one a line."""
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)]) if lines else ""


def _unwrapped(text: str | None) -> str:
    """Join the lines of each paragraph: the terminal wraps them to its own width."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _typer_parameter(
    parameter: inspect.Parameter, hint: Any, text: str | None, argument: bool, group: str | None
) -> Any:
    scalar_type = _scalar_type(hint)
    text = _with_choices(" ".join((text or "").split()), scalar_type)
    metavar = METAVARS.get(scalar_type, "NAME")
    path_parser = _path if parameter.name == "workspace" else _path_here
    parser = path_parser if scalar_type is Path else None
    if argument or parameter.default is parameter.empty:
        return typer.Argument(help=text, metavar=parameter.name.upper(), parser=parser)
    # A flag that is off by default needs no --no- form.
    names = [f"--{parameter.name.replace('_', '-')}"] if parameter.default is False else []
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=group, parser=parser)


def _path(text: str) -> Path:
    """The path of an option; an empty text would be the current folder."""
    if not text:
        raise typer.BadParameter("it is empty: name a path, or leave the option out (is a variable empty?)")
    return Path(text)


def _path_here(text: str) -> Path:
    """The path of an option that takes no address: a folder `s3:` would be made for s3://bucket."""
    if is_address(text):
        raise typer.BadParameter(f"{text} is an address: name a path of this machine")
    return _path(text)


def _scalar_type(hint: Any) -> Any:
    """Return the type of one value: without None, without a list around it, without annotations."""
    while arguments := [argument for argument in typing.get_args(hint) if argument is not type(None)]:
        hint = arguments[0]
    return hint


def _with_choices(text: str, scalar_type: Any) -> str:
    """Append the values of an enumeration to the text, unless the text has all of them."""
    members: Iterable[Any] = scalar_type if isinstance(scalar_type, EnumType) else ()
    choices = [str(member.value) for member in members]
    if all(choice in text for choice in choices):
        return text
    return f"{text} One of {', '.join(choices)}."


def options(parameters: Mapping[str, Any]) -> list[str]:
    """Return command-line arguments with these parameters; None and flags that are off are left out.

    >>> options({"epochs": 3, "augment": False, "exports": ["litert", "onnx"], "archive": None})
    ['--epochs', '3', '--no-augment', '--exports', 'litert', '--exports', 'onnx']
    >>> options({"drop_leaks": True, "dry_run": False})
    ['--drop-leaks']
    """
    words: list[str] = []
    for name, value in parameters.items():
        option = name.replace("_", "-")
        if value is False:
            words += [f"--no-{option}"] if name in TRI_STATE else []
        elif value is True:
            words.append(f"--{option}")
        elif value is not None:
            for item in value if isinstance(value, list | tuple) else [value]:
                words += [f"--{option}", str(item)]
    return words


def train_command(parameters: Mapping[str, Any], *, complete: bool = False) -> str:
    """The command line of a training run.

    Args:
        parameters: Those of the run, JSON values.
        complete: Whether options that have their default are named, too: a later version may have others.

    >>> train_command({"dataset": "my photos", "epochs": 3, "augment": False, "fit": "crop"})
    "plumbline train --dataset 'my photos' --epochs 3 --no-augment"
    """
    defaults = {} if complete else _train_defaults()
    given = {
        name: value
        for name, value in parameters.items()
        if name == "dataset" or name not in defaults or str(value) != str(defaults[name])
    }
    return shlex.join(["plumbline", "train", *options(given)])


def _train_defaults() -> dict[str, Any]:
    """The defaults of a training run's parameters, by name."""
    groups = (SourceSettings, NormalizeSettings, TrainSettings, PublishSettings)
    return {setting.name: setting.default for group in groups for setting in fields(group)}
