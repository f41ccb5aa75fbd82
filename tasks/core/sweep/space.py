"""The search space of a sweep: the varied parameters, their values, and the trials."""

import itertools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.core import shares
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.errors import UsageError

MAX_TRIALS = 10_000
DRAWS = 100  # attempts per configuration to draw a new one
Value = Any  # str, float, int or bool


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _recipe(text: str) -> RecipeName:
    return RecipeName(text)


PARSERS: dict[str, Callable[[str], Value]] = {
    "recipe": _recipe,
    "epochs": float,
    "batch_size": int,
    "learning_rate": float,
    "augment": _flag,
    "patience": int,
    "drop_leaks": _flag,
}
RANGES = (
    "epochs",
    "batch_size",
    "learning_rate",
    "patience",
)  # above 0; drawn uniformly on a logarithmic scale


@dataclass(frozen=True)
class Axis:
    """A varied parameter.

    Args:
        name: Name of the parameter.
        values: The values to try; empty for a range.
        low: Lower end of a range, above 0.
        high: Upper end of a range.
    """

    name: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Axis":
        """Parse "learning_rate=0.1,0.2,0.4" or, for a range, "learning_rate=0.05..0.8".

        Raises:
            UsageError: The text has another form, or a value that is impossible for the parameter.
        """
        name, _, values_text = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in PARSERS or not values_text.strip():
            raise UsageError(
                f"{text!r} does not vary a parameter",
                expected=f"such as learning_rate=0.1,0.2 or =0.05..0.8; one of {', '.join(PARSERS)}",
            )
        try:
            if ".." in values_text:
                return cls(name, low=_end(name, values_text, 0), high=_end(name, values_text, 1))
            return cls(
                name, tuple(dict.fromkeys(PARSERS[name](value.strip()) for value in values_text.split(",")))
            )
        except (ValueError, KeyError, IndexError) as error:
            raise UsageError(
                f"{name} cannot be {values_text!r}", expected=_expected(name), found=str(error)
            ) from error

    def draw(self, generator: random.Random) -> Value:
        """A random value, uniform over the values; from a range uniform in the logarithm, to three digits."""
        if self.values:
            return self.values[int(generator.random() * len(self.values))]
        value = self.low * (self.high / self.low) ** generator.random()
        return PARSERS[self.name](f"{value:.0f}") if PARSERS[self.name] is int else float(f"{value:.3g}")


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Args:
        number: Number of the trial, from 1.
        configuration: Number of the configuration, from 1; trials that differ only in their seed share it.
        varied: The values of the varied parameters.
        settings: The training settings.
    """

    number: int
    configuration: int
    varied: Mapping[str, Value]
    settings: TrainSettings

    @property
    def label(self) -> str:
        """The varied parameters as text."""
        return ", ".join(f"{name}={_text(value)}" for name, value in self.varied.items())

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.label, f"seed={self.settings.seed}"]))


def plan(base: TrainSettings, vary: Sequence[str], seeds: int = 1, draws: int | None = None) -> list[Trial]:
    """The trials of a sweep, configuration by configuration.

    Args:
        base: The parameters that are not varied. Its seed is the first seed of each configuration and the
            seed of the random search.
        vary: One text per varied parameter, see `Axis.read`.
        seeds: Number of trainings of each configuration, with consecutive seeds.
        draws: Number of configurations to draw (random search); None takes every combination (grid search).

    Raises:
        UsageError: Nothing is varied, a parameter is varied twice, a range is given without draws, or a value
            is out of range.
    """
    axes = [Axis.read(text) for text in vary]
    _check(axes, seeds, draws)
    configurations = _drawn(axes, draws, base.seed) if draws else _grid(axes)
    if len(configurations) * seeds > MAX_TRIALS:
        raise UsageError(
            f"a sweep has at most {MAX_TRIALS:,} trials", found=f"{len(configurations) * seeds:,}"
        )
    return [
        Trial(number, index // seeds + 1, values, replace(base, **values, seed=base.seed + index % seeds))
        for number, (index, values) in enumerate(
            enumerate(values for values in configurations for _ in range(seeds)), start=1
        )
    ]


def replaced(base: TrainSettings, plan: Sequence[Trial]) -> list[str]:
    """The options whose value no trial has, since the sweep varies them.

    Args:
        base: The parameters that were given.
        plan: The trials.
    """
    defaults = TrainSettings()
    given = [name for name in plan[0].varied if getattr(base, name) != getattr(defaults, name)]
    return [f"--{name.replace('_', '-')} {_text(getattr(base, name))}" for name in given]


def shortage(plan: Sequence[Trial], draws: int | None) -> str:
    """That a random search has fewer configurations than were asked for, as text; empty if it has all.

    Args:
        plan: The trials.
        draws: The number that was asked for; None for a grid search.
    """
    found = plan[-1].configuration
    if not draws or found == draws:
        return ""
    said = shares.said(found, "combination exists, and it is", "combinations exist, and each is")
    return f"--random {draws:,}: only {said} tried"


def parameters(settings: TrainSettings) -> dict[str, Any]:
    """Training settings as parameters of a flow: JSON values, without those that the recipe decides."""
    values = {name: value for name, value in vars(settings).items() if value is not None}
    return values | {"recipe": settings.recipe.value}


def as_json(settings: TrainSettings) -> str:
    """The result of `parameters` as JSON text."""
    return json.dumps(parameters(settings))


def _grid(axes: Sequence[Axis]) -> list[dict[str, Value]]:
    names = [axis.name for axis in axes]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(a.values for a in axes))]


def _drawn(axes: Sequence[Axis], draws: int, seed: int) -> list[dict[str, Value]]:
    """Different random configurations; the complete grid if it has no more than `draws`."""
    generator = random.Random(f"sweep {seed}")
    size = math.prod(len(axis.values) for axis in axes) if all(axis.values for axis in axes) else math.inf
    if draws >= size:
        return _grid(axes)
    configurations: list[dict[str, Value]] = []
    for _ in range(draws * DRAWS):
        values = {axis.name: axis.draw(generator) for axis in axes}
        if values not in configurations:
            configurations.append(values)
        if len(configurations) == draws:
            break
    return configurations


def _check(axes: Sequence[Axis], seeds: int, draws: int | None) -> None:
    """Raise a `UsageError` for an impossible sweep."""
    names = [axis.name for axis in axes]
    if seeds < 1 or (draws is not None and draws < 1):
        found = f"--seeds {seeds}" if seeds < 1 else f"--random {draws}"
        raise UsageError("--seeds and --random must be at least 1", found=found)
    if not axes and seeds == 1:
        raise UsageError(
            "there is nothing to sweep",
            expected="--vary learning_rate=0.1,0.2 (may be repeated), or --seeds 3",
        )
    if len(set(names)) < len(names):
        raise UsageError("a parameter is varied twice", found=", ".join(names))
    ranges = [axis.name for axis in axes if not axis.values]
    if ranges and draws is None:
        raise UsageError(
            f"{', '.join(ranges)} has a range", expected="--random N with it, or values with commas between"
        )
    if draws is not None and not axes:
        raise UsageError("a random search needs a parameter to vary", expected="--vary, at least once")


def _expected(name: str) -> str:
    """The values that a parameter can have."""
    kinds: dict[Callable[[str], Value], str] = {
        _recipe: f"some of {', '.join(RecipeName)}",
        _flag: "true, false or both",
        int: "whole numbers",
        float: "numbers",
    }
    ends = ", or with --random a range such as 2..8" if name in RANGES else ""
    return f"{kinds[PARSERS[name]]}, with commas between{ends}"


def _end(name: str, values_text: str, index: int) -> float:
    """One end of a range: the lower one for index 0, the upper one for index 1."""
    if name not in RANGES:
        raise ValueError(f"only {', '.join(RANGES)} can have a range")
    low, high = (float(text) for text in values_text.split(".."))
    if not 0 < low < high < math.inf:
        raise ValueError("the ends of a range must be above 0, the lower one first")
    return (low, high)[index]


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
