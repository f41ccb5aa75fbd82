"""What the parameters of a flow are: fields of settings classes, each declared and described once.

A flow is a function of one settings object. `with_parameters` gives it the flat signature that Prefect's
form, deployments' YAML and the command line show.
"""

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import docstring_parser
import pydantic

from tasks.core.checked_settings import Checked
from tasks.core.errors import UsageError
from tasks.core.workspace import is_address

R = TypeVar("R")
S = TypeVar("S", bound="FlowSettings")


@dataclass(frozen=True)
class FlowSettings:
    """The parameters of a flow, in groups: each field is a `Checked` class."""

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Sort flat parameters into their groups; absent or None means the default.

        Raises:
            UsageError: A value is out of its range or empty, two of them exclude each other, or there is no
                such parameter.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        declared_ones = {each.name: each for each in parameters_of(cls)}
        if unknown := sorted(set(given) - set(declared_ones)):
            raise _unknown(unknown, list(declared_ones))
        for name, value in given.items():
            if value == "" != declared_ones[name].default:
                raise _is_empty(name)
            declared_ones[name].check(value)
        groups: dict[str, Any] = {}
        for name, kind in _groups(cls):
            names = {declared.name for declared in fields(kind)}
            groups[name] = kind(**{key: _value(value) for key, value in given.items() if key in names})
        return cls(**groups)

    def parameters(self) -> dict[str, Any]:
        """The flat parameters that are set or have a default."""
        groups = [getattr(self, declared.name) for declared in fields(self)]
        values = {each.name: getattr(group, each.name) for group in groups for each in fields(group)}
        return {name: value for name, value in values.items() if value not in (None, ())}


@dataclass(frozen=True)
class FlowParameter:
    """One parameter of a flow.

    Args:
        name: Its name.
        annotation: Its type, with its limits for Prefect's form.
        default: Its default; None where the recipe or the dataset decides, `inspect.Parameter.empty` if
            it must be given.
        text: What it means.
        group: The heading under which `--help` shows it.
    """

    name: str
    annotation: Any
    default: Any
    text: str
    group: str

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty

    def check(self, value: Any) -> None:
        """Refuse what is no list, choice, flag or path where one is wanted; `Checked` checks numbers.

        Raises:
            UsageError: It is not; from Python, since the commands and Prefect's form know the types.
        """
        kinds = {self.annotation, *typing.get_args(self.annotation)}
        of_lists = [typing.get_args(kind)[0] for kind in kinds if typing.get_origin(kind) is list]
        if of_lists and not isinstance(value, list | tuple):
            todo = f"{self.name}=[{value!r}]" if isinstance(value, str) else ""
            raise UsageError(
                f"{self.name} must be a list", found=repr(value), done="nothing was started", todo=todo
            )
        if bool in kinds and not isinstance(value, bool):
            raise UsageError(
                f"{self.name} must be True or False", found=repr(value), done="nothing was started"
            )
        is_path = any(Path in (kind, *typing.get_args(kind)) for kind in kinds)
        if is_path and self.name != "workspace" and is_address(value):
            found, done = str(value), "nothing was started"
            raise UsageError(
                f"{self.name} is an address", expected="a path of this machine", found=found, done=done
            )
        for kind in (*of_lists, *kinds):
            if isinstance(kind, type) and issubclass(kind, Enum):
                for each in value if of_lists else [value]:
                    _check_choice(self.name, each, kind)


def _unknown(names: list[str], known: list[str]) -> UsageError:
    close = difflib.get_close_matches(names[0], known, 1)
    todo = f"did you mean {close[0]}?" if close else ""
    return UsageError(f"there is no parameter {', '.join(names)}", done="nothing was started", todo=todo)


def _check_choice(name: str, value: Any, choices: type[Enum]) -> None:
    known = [choice.value for choice in choices]
    if value not in known and not isinstance(value, choices):
        expected, close = (
            ", ".join(map(str, known)),
            difflib.get_close_matches(str(value), map(str, known), 1),
        )
        todo = f"did you mean {close[0]}?" if close else ""
        found, done = repr(value), "nothing was started"
        raise UsageError(f"{name} has no such choice", expected=expected, found=found, done=done, todo=todo)


def parameters_of(kind: type[FlowSettings]) -> list[FlowParameter]:
    """The flat parameters of a flow's settings, group by group."""
    groups = [group for _, group in _groups(kind)]
    return [parameter for group in groups for parameter in _parameters(group)]  # type: ignore[arg-type]


def groups_of(kind: type[FlowSettings]) -> dict[str, str]:
    """By parameter, the heading under which `--help` shows it."""
    return {parameter.name: parameter.group for parameter in parameters_of(kind)}


def with_parameters(kind: type[S], text: str = "") -> Callable[[Callable[[S], R]], Callable[..., R]]:
    """Decorate a function of one settings object so that it takes each parameter by its name.

    Its signature and the Args of its docstring come from the settings' classes.

    Args:
        kind: The settings.
        text: What the docstring says above its Args and below; by default that of the function.
    """

    def decorate(function: Callable[[S], R]) -> Callable[..., R]:
        parameters = parameters_of(kind)
        signature = inspect.Signature(
            [
                inspect.Parameter(
                    each.name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=each.default,
                    annotation=each.annotation,
                )
                for each in parameters
            ],
            return_annotation=inspect.signature(function).return_annotation,
        )

        def flow(*arguments: Any, **keywords: Any) -> R:
            return function(kind.of(signature.bind(*arguments, **keywords).arguments))

        flow.__name__, flow.__qualname__ = function.__name__, function.__qualname__
        flow.__module__ = function.__module__
        flow.__signature__ = signature  # type: ignore[attr-defined]
        flow.__annotations__ = {each.name: each.annotation for each in parameters}
        flow.__doc__ = _documentation(text or inspect.getdoc(function) or "", parameters)
        return flow

    return decorate


def _groups(kind: type[FlowSettings]) -> list[tuple[str, type[Checked]]]:
    hints = typing.get_type_hints(kind)
    return [(declared.name, hints[declared.name]) for declared in fields(kind)]


@cache  # a command asks for them several times
def _parameters(group: type[Checked]) -> tuple[FlowParameter, ...]:
    hints, texts = typing.get_type_hints(group), _texts(group)
    return tuple(
        FlowParameter(
            declared.name,
            _annotation(hints[declared.name], declared),
            _default(declared),
            texts[declared.name],
            group.GROUP,
        )
        for declared in fields(group)
    )


def _default(declared: "Field[Any]") -> Any:
    if declared.default is MISSING:
        return inspect.Parameter.empty
    return None if declared.default == () else declared.default


def _annotation(hint: Any, declared: "Field[Any]") -> Any:
    """The type for a form: a list for a tuple, with the limits."""
    if typing.get_origin(hint) is tuple:
        values: Any = list[typing.get_args(hint)[0]]  # type: ignore[misc]
        return values if declared.default is MISSING else values | None
    if not declared.metadata:
        is_text = {str, Path} & {hint, *typing.get_args(hint)}
        # The server refuses an empty text of a form; Pydantic would make the current folder of it.
        not_empty = pydantic.Field(json_schema_extra={"minLength": 1})
        return Annotated[hint, not_empty] if is_text and declared.default != "" else hint
    limits = declared.metadata
    return Annotated[hint, pydantic.Field(ge=limits["low"], le=limits["high"], gt=limits["above"])]


def _texts(group: type[Checked]) -> dict[str, str]:
    """What each parameter means, from the Args of the class and the classes that it extends."""
    texts: dict[str, str] = {}
    for kind in reversed(group.__mro__):
        for parameter in docstring_parser.parse(kind.__doc__ or "").params:
            texts[parameter.arg_name] = " ".join((parameter.description or "").split())
    return texts


def _documentation(text: str, parameters: list[FlowParameter]) -> str:
    before, separator, after = text.partition("\n\nReturns:")
    lines = "\n".join(f"    {each.name}: {each.text}" for each in parameters)
    return f"{before}\n\nArgs:\n{lines}{separator}{after}"


def _is_empty(name: str) -> UsageError:
    option = f"--{name.replace('_', '-')}"
    return UsageError(
        f"{option} is empty",
        expected="a value, or no such option",
        found="an empty text (is a variable empty?)",
        done="nothing was started",
        todo=f"give {option} a value, or leave it out",
    )


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
