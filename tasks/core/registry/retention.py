"""Removes versions; never one that an alias points to or that a kept version refers to."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError, UsageError
from tasks.core.registry import commits, layout
from tasks.core.registry.log import append, record
from tasks.core.registry.promotion.decisions import read_decisions
from tasks.core.storage import atomic, manifests
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.registry")


@commits.retry_on_conflict
def delete(
    dataset: str, name: str, workspace: Workspace, *, who: str, why: str, dry_run: bool = False
) -> str:
    """Remove a version; its number is never used again.

    Args:
        dataset: Name of the dataset.
        name: The version, such as "v0001", or its number.
        workspace: The workspace with the registry.
        who: The user, for the registry log.
        why: The reason, for the registry log.
        dry_run: Only check that it could be removed.

    Returns:
        The version's name.

    Raises:
        RegistryError: The version does not exist, or an alias points to it.
    """
    with layout.locked_folder(dataset, workspace) as directory:
        version = layout.find_version(dataset, name, directory)
        pointing_aliases = [name for name, target in layout.aliases(directory).items() if target == version]
        if pointing_aliases:
            raise RegistryError(
                f"{dataset} {version} is in use",
                found=f"alias {', '.join(pointing_aliases)}",
                done="nothing was removed",
                todo="give the alias to another version first",
            )
        if not dry_run:
            _remove(directory, version, who, why)
    return version


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
    """Remove old versions; never one that an alias points to or that a kept version refers to.

    A version refers to the champion that it was compared with. Both models are needed to inspect the images
    on which they differ.

    Args:
        dataset: Name of the dataset.
        workspace: The workspace with the registry.
        keep: Number of the newest versions to keep, 1 or more.
        keep_versions: More versions to keep: names such as "v0001", numbers, or aliases.
        who: The user, for the registry log.
        dry_run: Only list the versions; remove nothing.

    Returns:
        The removed versions, oldest first.

    Raises:
        UsageError: `keep` is below 1.
        RegistryError: There is no such dataset, or no such version to keep.
    """
    if keep < 1:
        raise UsageError(
            f"{keep} newest models cannot be kept",
            expected="a number of 1 or more",
            done="nothing was removed",
            todo="to remove one model, use `plumbline models delete`",
        )
    with layout.locked_folder(dataset, workspace) as directory:
        names = layout.version_names(directory)
        kept = {
            *layout.aliases(directory).values(),
            *(layout.find_version(dataset, name, directory) for name in keep_versions),
            *names[-keep:],
        }
        kept |= _referred_to(directory, kept, read_decisions(dataset, workspace))
        old = [name for name in names if name not in kept]
        if not dry_run:
            for name in old:
                _remove(directory, name, who, f"older than the newest {keep}, without alias or reference")
    return old


def _referred_to(directory: Path, kept: set[str], decisions: list[dict[str, Any]]) -> set[str]:
    """The former champions that the kept versions were compared with."""
    models = {
        name: manifests.read(directory / name)["facts"]["model_sha256"]
        for name in layout.version_names(directory)
    }
    kept_models = {models[name] for name in kept & set(models)}
    compared_champions = {
        line["champion"] for line in decisions if line["challenger"] in kept_models and line["looked"]
    }
    return {name for name, model in models.items() if model in compared_champions}


def _remove(directory: Path, version: str, who: str, why: str) -> None:
    """Log the removal, then remove the files: after a kill in between, the log still has the used number."""
    append(directory / layout.LOG, record("delete", who, why, version=version))
    atomic.remove_directory(directory / version)
    log.info("deleted %s %s", directory.name, version)
