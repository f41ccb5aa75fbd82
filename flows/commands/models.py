"""`plumbline models`: list, show, promote and remove published models, and change their aliases.

These commands read and write plain files: neither Prefect nor TensorFlow is loaded.
"""

from collections.abc import Callable
from pathlib import Path

import typer

from tasks.core.operations import provenance
from tasks.core.operations.command_line import documented
from tasks.core.registry import listing, registry, retention
from tasks.core.storage.workspaces import open_existing
from tasks.core.workspace import Workspace
from tasks.display import console


def list_(dataset: str | None = None, workspace: Path | None = None) -> None:
    """List the published models.

    Args:
        dataset: Only models of this dataset. Default: all datasets.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    others = registry.datasets(opened)
    none_yet = "no published models yet: `plumbline train` publishes the first one"
    empty = f"{dataset} has no published model; these have: {', '.join(others)}" if others else none_yet
    rows = listing.version_rows(opened, dataset)
    damages = {f"{row['dataset']} {row['version']}": row.pop(listing.DAMAGE, "") for row in rows}
    console.table(rows, empty)
    if damaged := {name: damage for name, damage in damages.items() if damage}:
        console.facts("damaged; `plumbline doctor` says what to do:", damaged)


def show(dataset: str, version: str = registry.CHAMPION, workspace: Path | None = None) -> None:
    """Show what is known about a model, after checking every byte of its files.

    Args:
        dataset: The dataset.
        version: A version such as v0003, its number, or an alias.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    model = registry.resolve(dataset, version, opened)
    console.facts(f"{dataset} {model.version}", listing.version_details(model, opened))
    console.table(listing.log_rows(dataset, model.version, opened))


def promote(dataset: str, version: str, why: str = "by hand", workspace: Path | None = None) -> None:
    """Make a model the champion; the former champion gets the alias previous.

    Args:
        dataset: The dataset.
        version: A version such as v0003, its number, or an alias.
        why: The reason, for the registry's log.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    registry.promote(dataset, version, opened, who=provenance.who(), why=why)
    _print_aliases(dataset, opened)


def rollback(dataset: str, why: str = "by hand", workspace: Path | None = None) -> None:
    """Swap the aliases champion and previous.

    Args:
        dataset: The dataset.
        why: The reason, for the registry's log.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    registry.rollback(dataset, opened, who=provenance.who(), why=why)
    _print_aliases(dataset, opened)


def alias(
    dataset: str,
    name: str,
    version: str | None = None,
    remove: bool = False,
    why: str = "by hand",
    workspace: Path | None = None,
) -> None:
    """Give a model an alias, or remove an alias.

    Args:
        dataset: The dataset.
        name: The alias: lower-case letters, digits and . _ -, such as "kiosk".
        version: Version that the alias points to; omit it with --remove.
        remove: Remove the alias.
        why: The reason, for the registry's log.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    if remove == (version is not None):
        raise typer.BadParameter("name a version, or use --remove")
    registry.alias(dataset, name, version, opened, who=provenance.who(), why=why)
    _print_aliases(dataset, opened)


def delete(
    dataset: str,
    version: str,
    why: str = "by hand",
    dry_run: bool = False,
    yes: bool = False,
    workspace: Path | None = None,
) -> None:
    """Remove a model permanently, unless it has an alias. Its number is not used again.

    On a terminal it asks first.

    Args:
        dataset: The dataset.
        version: The version, such as v0003, or its number.
        why: The reason, for the registry's log.
        dry_run: Only show what would be removed.
        yes: Do not ask.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened, who = open_existing(workspace), provenance.who()
    name = retention.delete(dataset, version, opened, who=who, why=why, dry_run=True)
    if dry_run or not console.confirmed(f"remove {dataset} {name} permanently", yes):
        console.console.print(f"would be removed: {name}")
        return
    retention.delete(dataset, name, opened, who=who, why=why)
    console.console.print(f"{dataset} {name} was removed")


def gc(
    dataset: str,
    keep: int = 10,
    keep_version: list[str] | None = None,
    dry_run: bool = False,
    yes: bool = False,
    workspace: Path | None = None,
) -> None:
    """Remove old models, except those with an alias and those that a kept model was compared with.

    On a terminal it asks first.

    Args:
        dataset: The dataset.
        keep: Number of the newest models to keep, 1 or more.
        keep_version: Another model to keep: a version such as v0003, its number, or an alias. May be
            repeated.
        dry_run: Only show what would be removed.
        yes: Do not ask.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)

    def remove(dry_run: bool) -> list[str]:
        return retention.gc(
            dataset,
            opened,
            keep=keep,
            keep_versions=keep_version or (),
            who=provenance.who(),
            dry_run=dry_run,
        )

    old = ", ".join(remove(dry_run=True))
    if not old:
        console.console.print("nothing to remove")
    elif dry_run or not console.confirmed(f"remove {dataset} {old} permanently", yes):
        console.console.print(f"would be removed: {old}")
    else:
        console.console.print(f"removed: {', '.join(remove(dry_run=False))}")


def _print_aliases(dataset: str, workspace: Workspace) -> None:
    aliases = registry.aliases(dataset, workspace)
    console.facts(dataset, aliases or {"aliases": "none"})


COMMANDS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "list": (list_, ("dataset",)),
    "show": (show, ("version",)),
    "promote": (promote, ()),
    "rollback": (rollback, ()),
    "alias": (alias, ("version",)),
    "delete": (delete, ()),
    "gc": (gc, ()),
}


def app() -> typer.Typer:
    """Return the command with its sub-commands."""
    models = typer.Typer(help="The published models and their aliases.", no_args_is_help=True)
    for name, (function, arguments) in COMMANDS.items():
        models.command(name)(documented(function, console.as_command(function), arguments))
    return models
