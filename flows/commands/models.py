"""`plumbline models`: the published models, their aliases, and which one is champion.

These commands read and write plain files: neither Prefect nor TensorFlow is loaded.
"""

from collections.abc import Callable
from pathlib import Path

import typer

from tasks.core.operations import provenance
from tasks.core.operations.command_line import documented
from tasks.core.registry import listing, registry, retention
from tasks.core.storage.mirror import open_workspace
from tasks.core.workspace import Workspace
from tasks.display import console


def list_(dataset: str | None = None, workspace: Path | None = None) -> None:
    """List the published models.

    Args:
        dataset: Only this dataset's; all if it is left out.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    rows = listing.version_rows(open_workspace(workspace), dataset)
    console.table(rows, "no published models yet: `plumbline train` makes the first one")


def show(dataset: str, version: str = registry.CHAMPION, workspace: Path | None = None) -> None:
    """Show all that is known of a model, after checking every byte of its files.

    Args:
        dataset: The dataset.
        version: A version such as v0003, its number, or an alias.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = open_workspace(workspace)
    model = registry.resolve(dataset, version, place)
    console.facts(f"{dataset} {model.version}", listing.version_details(model, place))
    console.table(listing.log_rows(dataset, model.version, place))


def promote(dataset: str, version: str, why: str = "by hand", workspace: Path | None = None) -> None:
    """Make a model the champion; the one before gets the alias previous.

    Args:
        dataset: The dataset.
        version: A version such as v0003, its number, or an alias.
        why: The reason, for the registry's log.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = open_workspace(workspace)
    registry.promote(dataset, version, place, who=provenance.who(), why=why)
    _say_aliases(dataset, place)


def rollback(dataset: str, why: str = "by hand", workspace: Path | None = None) -> None:
    """Let champion and previous change places.

    Args:
        dataset: The dataset.
        why: The reason, for the registry's log.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = open_workspace(workspace)
    registry.rollback(dataset, place, who=provenance.who(), why=why)
    _say_aliases(dataset, place)


def alias(
    dataset: str,
    name: str,
    version: str | None = None,
    remove: bool = False,
    why: str = "by hand",
    workspace: Path | None = None,
) -> None:
    """Give a model a name of your own, or take the name away.

    Args:
        dataset: The dataset.
        name: Lower-case letters, digits and . _ -, such as "kiosk".
        version: Version that the alias points to; omit it with --remove.
        remove: Take the name away.
        why: The reason, for the registry's log.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = open_workspace(workspace)
    if remove == (version is not None):
        raise typer.BadParameter("name a version, or say --remove")
    registry.alias(dataset, name, version, place, who=provenance.who(), why=why)
    _say_aliases(dataset, place)


def delete(dataset: str, version: str, why: str = "by hand", workspace: Path | None = None) -> None:
    """Remove a model for good; never one that an alias names. Its number is not given again.

    Args:
        dataset: The dataset.
        version: The version, such as v0003.
        why: The reason, for the registry's log.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    retention.delete(dataset, version, open_workspace(workspace), who=provenance.who(), why=why)
    console.console.print(f"{dataset} {version} was removed")


def gc(
    dataset: str,
    keep: int = 10,
    keep_version: list[str] | None = None,
    dry_run: bool = False,
    workspace: Path | None = None,
) -> None:
    """Remove old models; never one with an alias, nor one that a kept model was compared with.

    Args:
        dataset: The dataset.
        keep: How many of the newest stay in any case.
        keep_version: Another version to keep. May be repeated.
        dry_run: Only say what would go.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    gone = retention.gc(
        dataset,
        open_workspace(workspace),
        keep=keep,
        keep_versions=keep_version or (),
        who=provenance.who(),
        dry_run=dry_run,
    )
    verb = "would be removed" if dry_run else "removed"
    console.console.print(f"{verb}: {', '.join(gone) or 'nothing'}")


def _say_aliases(dataset: str, workspace: Workspace) -> None:
    known = registry.aliases(dataset, workspace)
    console.facts(dataset, known or {"aliases": "none"})


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
    """The command with its sub-commands."""
    made = typer.Typer(help="The published models and their aliases.", no_args_is_help=True)
    for name, (function, arguments) in COMMANDS.items():
        made.command(name)(documented(function, console.as_command(function), arguments))
    return made
