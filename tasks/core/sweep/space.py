"""The trials of a sweep: which values of which parameters are tried, each with which seeds."""

import itertools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.errors import UsageError

MOST = 10_000  # trials
DRAWS = 100  # for one more configuration that was not drawn before
Value = Any  # str, float, int or bool


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _recipe(text: str) -> RecipeName:
    return RecipeName(text)


KINDS: dict[str, Callable[[str], Value]] = {
    "recipe": _recipe,
    "epochs": float,
    "batch_size": int,
    "learning_rate": float,
    "augment": _flag,
    "patience": int,
    "drop_leaks": _flag,
}
RANGES = ("epochs", "batch_size", "learning_rate", "patience")  # above 0: drawn evenly on a logarithmic scale


@dataclass(frozen=True)
class Axis:
    """A parameter that is varied.

    Args:
        name: Its name.
        values: What it can be; empty for a range.
        low, high: Ends of a range.
    """

    name: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Axis":
        """From "learning_rate=0.1,0.2,0.4", or "learning_rate=0.05..0.8" for a range.

        Raises:
            UsageError: It says something else, or a value that the parameter cannot have.
        """
        name, _, said = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in KINDS or not said.strip():
            raise UsageError(
                f"{text!r} is nothing that can be varied",
                expected=f"such as learning_rate=0.1,0.2 or =0.05..0.8; one of {', '.join(KINDS)}",
            )
        try:
            if ".." in said:
                return cls(name, low=_end(name, said, 0), high=_end(name, said, 1))
            return cls(name, tuple(dict.fromkeys(KINDS[name](value.strip()) for value in said.split(","))))
        except (ValueError, KeyError, IndexError) as error:
            raise UsageError(f"{name} cannot be {said!r}", found=str(error)) from error

    def draw(self, chance: random.Random) -> Value:
        """A value by chance, one as likely as the other; of a range, to three digits."""
        if self.values:
            return self.values[int(chance.random() * len(self.values))]
        drawn = self.low * (self.high / self.low) ** chance.random()
        return KINDS[self.name](f"{drawn:.0f}") if KINDS[self.name] is int else float(f"{drawn:.3g}")


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Args:
        number: From 1.
        configuration: From 1; trials that differ in their seed only share it.
        varied: The varied parameters' values.
        settings: How to train.
    """

    number: int
    configuration: int
    varied: Mapping[str, Value]
    settings: TrainSettings

    @property
    def label(self) -> str:
        """The varied parameters in words."""
        return ", ".join(f"{name}={_text(value)}" for name, value in self.varied.items())

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.label, f"seed={self.settings.seed}"]))


def plan(base: TrainSettings, vary: Sequence[str], seeds: int = 1, draws: int | None = None) -> list[Trial]:
    """The trials, configuration by configuration.

    Args:
        base: The parameters that are not varied; its seed is the first of the trials' and that of the draws.
        vary: See `Axis.read`.
        seeds: Trainings of each configuration, with seeds that follow each other.
        draws: How many configurations to draw by chance; None takes every combination.

    Raises:
        UsageError: Nothing is varied, a parameter twice, a range without draws, or a value out of range.
    """
    axes = [Axis.read(text) for text in vary]
    _refuse(axes, seeds, draws)
    found = _drawn(axes, draws, base.seed) if draws else _grid(axes)
    if len(found) * seeds > MOST:
        raise UsageError(f"a sweep has at most {MOST:,} trials", found=f"{len(found) * seeds:,}")
    return [
        Trial(number, place // seeds + 1, values, replace(base, **values, seed=base.seed + place % seeds))
        for number, (place, values) in enumerate(
            enumerate(values for values in found for _ in range(seeds)), start=1
        )
    ]


def parameters(settings: TrainSettings) -> dict[str, Any]:
    """Training settings as a flow's parameters: JSON values, without what is left to the recipe."""
    given = {name: value for name, value in vars(settings).items() if value is not None}
    return given | {"recipe": settings.recipe.value}


def as_json(settings: TrainSettings) -> str:
    return json.dumps(parameters(settings))


def _grid(axes: Sequence[Axis]) -> list[dict[str, Value]]:
    names = [axis.name for axis in axes]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(a.values for a in axes))]


def _drawn(axes: Sequence[Axis], draws: int, seed: int) -> list[dict[str, Value]]:
    """Different configurations by chance; the whole grid if it has no more."""
    chance = random.Random(f"sweep {seed}")
    size = math.prod(len(axis.values) for axis in axes) if all(axis.values for axis in axes) else math.inf
    if draws >= size:
        return _grid(axes)
    found: list[dict[str, Value]] = []
    for _ in range(draws * DRAWS):
        values = {axis.name: axis.draw(chance) for axis in axes}
        if values not in found:
            found.append(values)
        if len(found) == draws:
            break
    return found


def _refuse(axes: Sequence[Axis], seeds: int, draws: int | None) -> None:
    names = [axis.name for axis in axes]
    if seeds < 1 or (draws is not None and draws < 1):
        raise UsageError("seeds and random must be at least 1", found=f"{seeds}, {draws}")
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
        raise UsageError("random draws need something to vary", expected="--vary, at least once")


def _end(name: str, said: str, place: int) -> float:
    if name not in RANGES:
        raise ValueError(f"a range is for {', '.join(RANGES)}")
    low, high = (float(text) for text in said.split(".."))
    if not 0 < low < high:
        raise ValueError("a range's ends are above 0, the lower one first")
    return (low, high)[place]


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
