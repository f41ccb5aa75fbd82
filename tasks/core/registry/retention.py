"""Removing versions: never one that an alias names or that somebody refers to."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError
from tasks.core.registry import commits, layout
from tasks.core.registry.decisions import read_decisions
from tasks.core.registry.log import append, record
from tasks.core.storage import atomic, manifests
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.registry")


@commits.retry_on_conflict
def delete(dataset: str, version: str, workspace: Workspace, *, who: str, why: str) -> None:
    """Remove one version; its number is not given again.

    Raises:
        RegistryError: It isn't there, or an alias names it.
    """
    with layout.locked_folder(dataset, workspace) as place:
        if version not in layout.version_names(place):
            raise RegistryError(
                f"{dataset} has no version {version}", found=", ".join(layout.version_names(place))
            )
        named = [name for name, target in layout.aliases(place).items() if target == version]
        if named:
            raise RegistryError(
                f"{dataset} {version} is in use",
                found=f"alias {', '.join(named)}",
                done="nothing was removed",
                todo="give the alias to another version first",
            )
        _remove(place, version, who, why)


@commits.retry_on_conflict
def gc(
    dataset: str,
    workspace: Workspace,
    *,
    keep: int,
    keep_versions: Collection[str] = (),
    who: str,
    dry_run: bool = False,
) -> list[str]:
    """Remove old versions; never one that an alias names, nor one that a version which stays refers to.

    A version refers to the champion that it was compared with: without that model nobody could look at
    the images again on which the two differ.

    Args:
        keep: The newest so many stay, 0 or more.
        spared: Versions that stay besides.
        who: Stands in the log.
        dry_run: Only say what would go.

    Returns:
        The versions removed, oldest first.
    """
    with layout.locked_folder(dataset, workspace) as place:
        names = layout.version_names(place)
        kept = {*layout.aliases(place).values(), *keep_versions, *names[len(names) - min(keep, len(names)) :]}
        kept |= _referred_to(place, kept, read_decisions(dataset, workspace))
        old = [name for name in names if name not in kept]
        if not dry_run:
            for name in old:
                _remove(place, name, who, f"older than the newest {keep}, without alias or reference")
    return old


def _referred_to(place: Path, kept: set[str], decisions: list[dict[str, Any]]) -> set[str]:
    """Versions that the decisions about the kept ones compared with."""
    models = {
        name: manifests.read(place / name)["facts"]["model_sha256"] for name in layout.version_names(place)
    }
    ours = {models[name] for name in kept & set(models)}
    rivals = {line["champion"] for line in decisions if line["challenger"] in ours and line["looked"]}
    return {name for name, model in models.items() if model in rivals}


def _remove(place: Path, version: str, who: str, why: str) -> None:
    """Log first: a number whose files are gone is then known to have been given."""
    append(place / layout.LOG, record("delete", who, why, version=version))
    atomic.remove_directory(place / version)
    log.info("deleted %s %s", place.name, version)
