"""`--config run.toml`: options of a command in a TOML or YAML file. The command line wins over the file."""

import difflib
import re
import reprlib
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.declarations import FLOWS
from tasks.core.errors import UsageError
from tasks.core.operations.command_line import TRI_STATE, options
from tasks.parameters.flow_parameters import FlowParameter, parameters_of

OPTION = "--config"
YAML = (".yaml", ".yml")
OCTAL = re.compile(r"[-+]?0[0-9_]+")
LONGEST = 1024  # bits of a whole number; a float has no more


def expanded(command: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with the options of its `--config` file before them.

    They are parsed and checked as if they had been typed. An option that was typed replaces that of the file.

    Args:
        command: The command, such as "train".
        arguments: What was typed after the command.

    Raises:
        UsageError: The file cannot be read, or has an option that the command does not have.
    """
    path, others = _without_config(arguments)
    if path is None or command not in FLOWS:
        return list(arguments)
    values = checked(read(path), command, path)
    typed = {argument.partition("=")[0] for argument in others}
    kept = {name: value for name, value in values.items() if not typed & _spellings(name)}
    return [*options(kept), *others]


def _spellings(name: str) -> set[str]:
    option = name.replace("_", "-")
    return {f"--{option}"} | ({f"--no-{option}"} if name in TRI_STATE else set())


def read(path: Path) -> dict[str, Any]:
    """The values of a TOML or YAML file, by key.

    Raises:
        UsageError: It is not there, is no TOML or YAML, or is no table of names and values.
    """
    expected = "a .toml, .yaml or .yml file of options (`plumbline config show` prints one)"
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")  # editors of Windows write a byte-order mark
        values = _parsed(text, path.suffix.lower())
    # ValueError: neither UTF-8, TOML nor YAML. RuntimeError: an unknown user after "~", or lists too deep.
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{OPTION} {path} cannot be read", expected=expected, found=str(error)) from error
    if not isinstance(values, dict):
        raise UsageError(
            f"{OPTION} {path} has no options", expected=expected, found=f"a {type(values).__name__}"
        )
    return {str(name): value for name, value in values.items()}


def _parsed(text: str, suffix: str) -> Any:
    if suffix not in YAML:
        return tomllib.loads(text)
    import yaml  # it comes with Prefect

    try:
        node = yaml.compose(text, yaml.SafeLoader)
        _refuse_repeated_keys(node)
        _refuse_other_values(node)
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _refuse_repeated_keys(node: Any) -> None:
    """TOML refuses them itself. YAML's loader takes the last one without a word."""
    keys = [str(key.value) for key, _ in node.value] if getattr(node, "id", "") == "mapping" else []
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise ValueError(f"more than once: {', '.join(repeated)}")


def _refuse_other_values(node: Any) -> None:
    """YAML 1.1 reads 010 as 8, 1:30 as 90 and 2026-01-31 as a date."""
    children = node.value if isinstance(getattr(node, "value", None), list) else []
    for child in children:
        for each in child if isinstance(child, tuple) else (child,):
            _refuse_other_values(each)
    kind = getattr(node, "tag", "").rpartition(":")[2]
    is_number = kind in ("int", "float") and (OCTAL.fullmatch(node.value) or ":" in node.value)
    if is_number or kind == "timestamp":
        raise ValueError(f"{node.value} is another value in YAML: put it into quotes")


def checked(values: Mapping[str, Any], command: str, path: Path) -> dict[str, Any]:
    """The values by parameter; a switch has a truth value, and only what may be repeated has a list.

    Raises:
        UsageError: A key is no option of the command, or its value is of another kind.
    """
    known = {each.name: each for each in option_parameters(command)}
    checked_values = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise _unknown(key, list(known), command, path)
        if name in checked_values:
            found = f"{name.replace('_', '-')} and {name}"
            raise UsageError(f"{OPTION} {path} has an option twice", expected="each one once", found=found)
        if value is not None:
            _check_kind(known[name], value, path)
            checked_values[name] = value
    return checked_values


def option_parameters(command: str) -> list[FlowParameter]:
    """The parameters of a flow that are options on its command line."""
    return [each for each in parameters_of(FLOWS[command].settings) if not each.required]


def _unknown(key: str, known: list[str], command: str, path: Path) -> UsageError:
    near = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.5)
    return UsageError(
        f"{OPTION} {path} has {key}, which is no option of {command}",
        done="nothing was started",
        todo=(f"did you mean {near[0]}? " if near else "") + f"All options: plumbline config show {command}",
    )


def _check_kind(parameter: FlowParameter, value: Any, path: Path) -> None:
    kinds = typing.get_args(parameter.annotation) or (parameter.annotation,)
    is_switch = bool in kinds or parameter.name in TRI_STATE
    is_list = any(typing.get_origin(kind) is list for kind in kinds)
    expected = "true or false" if is_switch else "a value or a list of values" if is_list else "one value"
    items = value if isinstance(value, list) and is_list else [value]
    if all(isinstance(item, bool) if is_switch else _is_scalar(item) for item in items):
        return
    is_word = isinstance(value, bool) and path.suffix.lower() in YAML
    quotes = "put a word such as no, yes, on or off into quotes: YAML takes it for false or true"
    raise UsageError(
        f"{OPTION} {path}: {parameter.name} cannot be read",
        expected=expected,
        found=_shortened(value),
        todo=quotes if is_word else "",
    )


def _is_scalar(value: Any) -> bool:
    is_huge = isinstance(value, int) and value.bit_length() > LONGEST
    return isinstance(value, str | int | float) and not isinstance(value, bool) and not is_huge


def _shortened(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of too many digits"


def _without_config(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The file that was named last, and the other arguments."""
    path, others, words = None, [], iter(arguments)
    for word in words:
        if word.startswith(f"{OPTION}="):
            path = Path(word.removeprefix(f"{OPTION}="))
        elif word == OPTION and (following := next(words, None)) is not None:
            path = Path(following)  # an empty one is a folder, and refused
        else:
            others.append(word)
    return path, others
