"""`plumbline prune`: what a workspace holds, and what nothing needs any more."""

from pathlib import Path

from tasks.core import shares
from tasks.core.runs import prune as pruning
from tasks.core.runs.prune import Output, Plan
from tasks.core.storage.workspaces import open_existing
from tasks.display import console


def prune(older_than: str = "30d", keep: int = 10, yes: bool = False, workspace: Path | None = None) -> None:
    """Show what the workspace holds and what nothing needs any more; with --yes, remove that.

    Needed are the outputs of the newest runs of each dataset, of younger runs and of the runs of models with
    an alias, and what they were made from. Tables, models and downloads are never touched; `plumbline models
    gc` removes models. What a later run needs it makes again.

    Args:
        older_than: Only what is older: hours, days or weeks, such as 12h, 30d or 8w.
        keep: Number of the newest runs of each dataset whose outputs stay, 1 or more.
        yes: Remove it. Without this nothing is changed.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened, age = open_existing(workspace), pruning.parse_age(older_than)
    found = pruning.prune(opened, keep, age) if yes else pruning.plan(opened, keep, age)
    console.table(rows(found))
    console.console.print(sentence(found))


def rows(found: Plan) -> list[dict[str, str]]:
    """One row for each folder: what stays and what does not, in number and size."""
    gone = (*found.unneeded, *found.removed)
    kinds = sorted({output.kind for output in (*found.needed, *gone, *found.busy)})
    heading = "removed" if found.removed else "not needed"
    lines = []
    for kind in kinds:
        stay = [output for output in (*found.needed, *found.busy) if output.kind == kind]
        go = [output for output in gone if output.kind == kind]
        lines.append({"folder": kind, "stays": _amount(stay), heading: _amount(go)})
    others = [{"folder": name, "stays": _megabytes(size), heading: ""} for name, size in found.others.items()]
    return lines + [row for row in others if found.others[row["folder"]]]


def sentence(found: Plan) -> str:
    """What was removed or could be, in one sentence."""
    if found.removed or found.busy:
        busy = f"; {len(found.busy):,} stay, since a process is using them" if found.busy else ""
        return f"removed {_amount(found.removed) or 'nothing'}{busy}"
    if found.unneeded:
        return f"nothing needs {_amount(found.unneeded)}; --yes removes that"
    return "nothing to remove"


def _amount(outputs: tuple[Output, ...] | list[Output]) -> str:
    if not outputs:
        return ""
    size = _megabytes(sum(output.size for output in outputs))
    return f"{shares.said(len(outputs), 'output', 'outputs')}, {size}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
