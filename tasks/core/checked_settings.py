"""Groups of parameters whose values must lie within limits."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from tasks.core.errors import UsageError


def limited(
    default: Any, low: float | None = None, high: float | None = None, above: float | None = None
) -> Any:
    """A field of a `Checked` dataclass whose value, unless None, must lie within limits.

    Args:
        default: The field's default.
        low, high: The smallest and the largest value.
        above: What the value must be larger than, in place of `low`.
    """
    return field(default=default, metadata={"low": low, "high": high, "above": above})


@dataclass(frozen=True)
class Checked:
    """A group of parameters that checks the limits of its fields.

    Raises:
        UsageError: A value is out of its limits.
    """

    GROUP: ClassVar[str] = ""  # the heading in `--help`

    def __post_init__(self) -> None:
        """Check every field that has limits."""
        for declared in fields(self):
            value = getattr(self, declared.name)
            if value is not None and declared.metadata:
                _check_limits(declared.name, value, **declared.metadata)


def _check_limits(
    name: str, value: float, low: float | None, high: float | None, above: float | None
) -> None:
    if not isinstance(value, int | float):  # from Python; the commands parse numbers
        raise UsageError(f"{name} must be a number", found=repr(value))
    within = (low is None or value >= low) and (high is None or value <= high)
    if within and (above is None or value > above) and not math.isnan(value):
        return
    most = "" if high is None else f"{high:.10g}"
    if above is None:
        raise UsageError(f"{name} must lie in {low:g}..{most}", found=f"{value:g}")
    raise UsageError(f"{name} must be above {above:g}{most and f' and at most {most}'}", found=f"{value:g}")
