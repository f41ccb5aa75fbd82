"""docs/cli.md: every command with its options, from the commands themselves."""

import enum
import html
import re
from typing import Any

import typer

from flows import __main__ as console

COMMANDS = """\
# Commands

This page lists every command with its options. It is written by `python tests/docs/generate.py`.

`python flows/train_flow.py`, `python flows/sweep_flow.py`, `python flows/predict_flow.py` and
`python flows/evaluate_flow.py` are the same as `plumbline train`, `plumbline sweep`, `plumbline predict` and
`plumbline evaluate`. `--help` after a command shows its options, too.
An option without a value in the second column is a switch.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error, or a check that failed |
| 2 | the command line or a setting is wrong; nothing was started |
| 3 | `plumbline reproduce`: the run was not reproduced |
| 4 | `plumbline reproduce`: the test images are too few to tell |
| 130 | stopped by Ctrl-C; the next run continues |

{commands}
"""
VALUES = {"N": "whole number", "X": "number", "TEXT": "text", "PATH": "path", "NAME": "name", "": ""}


def plumbline_command() -> Any:
    """The click command of `plumbline`, with all its commands."""
    return typer.main.get_command(console.app(tuple(console.ADDERS)))


def commands(command: Any, words: tuple[str, ...] = ("plumbline",)) -> list[str]:
    """The sections of a command and of the commands below it."""
    if hasattr(command, "commands"):
        return [part for name, child in command.commands.items() for part in commands(child, (*words, name))]
    text, examples = command.help or "", (command.epilog or "").removeprefix("Examples:")
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([*words, *map(_argument, arguments), "[OPTIONS]"])
    lines = "\n".join(line.strip() for line in examples.splitlines() if line.strip())
    parts = [f"## {' '.join(words)}", _plain(text.strip()), f"```sh\n{lines}\n```" if lines else ""]
    parts += [f"`{usage}`", _table("argument", arguments)]
    groups: dict[str, list[Any]] = {}
    for option in command.params:
        if option not in arguments and option.name != "help":
            groups.setdefault(option.rich_help_panel or "", []).append(option)
    for group, options in groups.items():
        parts += [f"**{group}**" if group else "", _table("option", options)]
    return ["\n\n".join(filter(None, parts))]


def _argument(parameter: Any) -> str:
    name = f"{parameter.metavar}{'...' * (parameter.nargs == -1)}"
    return name if parameter.required else f"[{name}]"


def _table(title: str, parameters: list[Any]) -> str:
    if not parameters:
        return ""
    rows = [f"| {' | '.join(_cells(parameter))} |" for parameter in parameters]
    return "\n".join([f"| {title} | value | default | meaning |", "|---|---|---|---|", *rows])


def _cells(parameter: Any) -> tuple[str, str, str, str]:
    """Name, type, default and meaning; a text's last sentence may say what the default is."""
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.metavar] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    value = "" if is_argument else VALUES[parameter.metavar]
    text, _, default = (parameter.help or "").partition(" Default: ")
    given = parameter.default
    if given is not None and given is not False and given != () and not callable(given):
        default = f"`{given.value if isinstance(given, enum.Enum) else given}`"
    if parameter.required:
        default = "required"
    name = ", ".join(f"`{name}`" for name in names)
    return name, value, _plain(default.rstrip(".")) or "-", _plain(text)


def _plain(text: str) -> str:
    """Text in which Markdown sees no markup."""
    return re.sub(r"([*|])", r"\\\1", html.escape(text, quote=False))


def page() -> str:
    """The text of docs/cli.md."""
    return COMMANDS.format(commands="\n\n".join(commands(plumbline_command())))
