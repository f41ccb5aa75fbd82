"""Finds a stage of the table by its name or its role."""

from typing import Any

from tasks.core.errors import UsageError
from tasks.core.stage.stage import Stage
from tasks.core.stage.stages import PARTS, STAGES


def by_name(name: str) -> Stage[Any]:
    """The stage of that name.

    Args:
        name: As a run records it: with the role, if any, such as "evaluate champion".

    Raises:
        UsageError: There is none.
    """
    for stage in (*STAGES, *PARTS):
        if stage.name == base_name(name):
            return stage
    raise UsageError(f"there is no stage {name}", expected=", ".join(stage.name for stage in STAGES))


def base_name(name: str) -> str:
    """A stage's name without the role.

    >>> base_name("evaluate champion")
    'evaluate'
    """
    return name.split()[0]


def maker_of(role: str) -> str:
    """The stage whose output other stages call by this role; empty if no stage makes it."""
    return next((stage.name for stage in (*STAGES, *PARTS) if role and stage.role == role), "")
