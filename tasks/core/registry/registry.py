"""The registry: published models as immutable, numbered versions in plain files, with aliases.

`layout` describes the files on disk and why they are consistent at any moment; `version_files` writes a
version; `retention` removes versions.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.core.errors import FormatError, RegistryError
from tasks.core.evaluation import point_of_version
from tasks.core.registry import commits, layout, log
from tasks.core.registry.version_files import (
    ALL_IMAGES,
    CARD,
    EXPORTS,
    MODEL,
    PROFILE,
    CopiedOutputs,
    check_same_model,
    write_version,
)
from tasks.core.stage.handles import Evaluation, Exports, FinalModel, ModelVersion, Profile, TrainedModel
from tasks.core.stage.publish import ensure_local, is_manifest_only
from tasks.core.storage import manifests, mirror
from tasks.core.workspace import Workspace

__all__ = ["ALL_IMAGES", "CARD", "EXPORTS", "MODEL", "PROFILE"]
CHAMPION = "champion"
PREVIOUS = "previous"
ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,63}")


@commits.retry_on_conflict
def publish(
    trained: TrainedModel,
    evaluation: Evaluation,
    dataset: str,
    facts: Mapping[str, Any],
    workspace: Workspace,
    *,
    who: str = "",
    exported: Exports | None = None,
    profiled: Profile | None = None,
    final: FinalModel | None = None,
) -> ModelVersion:
    """Publish a trained model as a new version.

    A model that is published already keeps its version, without changes, unless that version is damaged.

    Args:
        trained: The model; its `model.keras` is copied.
        evaluation: The evaluation of that model.
        dataset: Name of the dataset.
        facts: Facts for the manifest and the model card: classes, shape, parameters, seed, packages,
            git_commit, ...; JSON values.
        workspace: The workspace with the registry.
        who: The user, for the registry log.
        exported: The model in other formats, copied into the version's folder `exports`.
        profiled: The profile of the validation images, copied into the version's folder `profile`.
        final: A model of all images, copied into the version's folder `all_images`.

    Returns:
        The new version, or the existing one.

    Raises:
        RegistryError: The evaluation, the exports or the profile belong to another model.
    """
    copied = CopiedOutputs(exported, profiled, final)
    check_same_model(trained, evaluation, copied)
    with layout.locked_folder(dataset, workspace, create=True) as directory:
        if published := _published(trained.model_sha256, facts, directory, workspace):
            return published
        name = layout.next_version_name(directory)
        version_facts = {**facts, "dataset": dataset, "version": name, "who": who}
        write_version(directory / name, trained, evaluation, copied, version_facts, workspace)
        layout.log_publication(directory, name, who, layout.LOGGED_BY_RUN)
    return _load(directory / name, workspace)


def versions(dataset: str, workspace: Workspace) -> list[ModelVersion]:
    """All versions of a dataset, oldest first.

    Raises:
        FormatError: A version is damaged (large files are checked by size and time only).
    """
    directory = layout.synced_folder(dataset, workspace)
    return [_load(directory / name, workspace) for name in layout.version_names(directory)]


def resolve(dataset: str, name: str, workspace: Workspace) -> ModelVersion:
    """The version of that name, after a check of every byte of its files against its manifest.

    Args:
        dataset: Name of the dataset.
        name: A version such as "v0001", its number, or an alias.
        workspace: The workspace with the registry.

    Raises:
        RegistryError: The version does not exist, or its files have changed since it was published.
    """
    directory = layout.synced_folder(dataset, workspace)
    version = layout.find_version(dataset, name, directory)
    if problem := _problem(directory, version):
        raise RegistryError(
            f"{dataset} {version} is not what was published",
            found=problem,
            done="nothing was loaded",
            todo="restore its files from a copy, or use another version",
        )
    return _load(directory / version, workspace)


def champion(dataset: str, workspace: Workspace) -> ModelVersion | None:
    """The champion, with the checks of `resolve`; None if there is none."""
    if CHAMPION not in aliases(dataset, workspace):
        return None
    return resolve(dataset, CHAMPION, workspace)


def champion_problem(dataset: str, workspace: Workspace, *, thorough: bool = True) -> str:
    """How the champion's files differ from what was published, with its version; empty if they do not.

    Args:
        dataset: Name of the dataset.
        workspace: The workspace with the registry.
        thorough: Check every byte, and download the version from the store if only its manifest is here.
    """
    version = aliases(dataset, workspace).get(CHAMPION, "")
    directory = layout.folder(dataset, workspace)
    if not version or (not thorough and is_manifest_only(directory / version)):
        return ""
    problem = _problem(directory, version)
    return f"{version} is damaged: {problem}" if problem else ""


def aliases(dataset: str, workspace: Workspace) -> dict[str, str]:
    """The version of each alias."""
    return layout.aliases(layout.synced_folder(dataset, workspace))


def history(dataset: str, workspace: Workspace) -> list[dict[str, Any]]:
    """The registry log of a dataset, oldest entry first: when, who, action, why, version, ..."""
    return log.read(layout.synced_folder(dataset, workspace) / layout.LOG)


def datasets(workspace: Workspace) -> list[str]:
    """Names of the datasets with published models, sorted."""
    return sorted(
        name for name in _folders(workspace) if layout.version_names(layout.synced_folder(name, workspace))
    )


@commits.retry_on_conflict
def promote(
    dataset: str,
    name: str,
    workspace: Workspace,
    *,
    who: str,
    why: str,
    expected_champion: str | None = None,
    before: Callable[[Path], None] = lambda _: None,
) -> ModelVersion:
    """Make a version the champion; the former champion gets the alias previous.

    Args:
        dataset: Name of the dataset.
        name: Version or alias.
        workspace: The workspace with the registry.
        who: The user, for the registry log.
        why: The reason, for the registry log.
        expected_champion: The version that must still be the champion, "" for no champion, unless it is
            the version to promote; None skips this check.
        before: Called with the dataset's directory, which is locked, before the champion changes.

    Raises:
        RegistryError: The version does not exist, or another one has become champion in the meantime.
    """
    with layout.locked_folder(dataset, workspace) as directory:
        version = resolve(dataset, name, workspace)
        current = layout.aliases(directory)
        champion_name = current.get(CHAMPION, "")
        # Another machine may have published this same model, and made it champion.
        if expected_champion is not None and champion_name not in (expected_champion, version.version):
            raise RegistryError(
                f"another model of {dataset} has become champion in the meantime",
                expected=expected_champion or "no champion",
                found=champion_name or "no champion",
                done=f"{version.version} was not promoted",
                todo="run again: it will be compared with the new champion",
            )
        before(directory)
        if champion_name != version.version:
            new = current | {CHAMPION: version.version} | ({PREVIOUS: champion_name} if champion_name else {})
            change = log.record("promote", who, why, version=version.version, before=champion_name)
            layout.write_aliases(directory, new, change)
    return version


@commits.retry_on_conflict
def rollback(dataset: str, workspace: Workspace, *, who: str, why: str) -> ModelVersion:
    """Swap the aliases champion and previous.

    Args:
        dataset: Name of the dataset.
        workspace: The workspace with the registry.
        who: The user, for the registry log.
        why: The reason, for the registry log.

    Returns:
        The new champion.

    Raises:
        RegistryError: There is no previous champion.
    """
    with layout.locked_folder(dataset, workspace) as directory:
        current = layout.aliases(directory)
        if PREVIOUS not in current:
            raise RegistryError(
                f"{dataset} has no previous champion",
                found=f"aliases: {', '.join(current) or 'none'}",
                done="nothing was changed",
                todo="promote a version by its number",
            )
        version = resolve(dataset, PREVIOUS, workspace)
        new = current | {CHAMPION: current[PREVIOUS], PREVIOUS: current[CHAMPION]}
        change = log.record("rollback", who, why, version=version.version, before=current[CHAMPION])
        layout.write_aliases(directory, new, change)
    return version


@commits.retry_on_conflict
def alias(dataset: str, name: str, version: str | None, workspace: Workspace, *, who: str, why: str) -> None:
    """Set or remove an alias that the user defines.

    Args:
        dataset: Name of the dataset.
        name: The alias: lower-case letters, digits and ". _ -"; not champion or previous.
        version: Version or alias that it points to; None removes the alias.
        workspace: The workspace with the registry.
        who: The user, for the registry log.
        why: The reason, for the registry log.

    Raises:
        RegistryError: The name cannot be an alias, or the version or the alias to remove does not exist.
    """
    if not ALIAS.fullmatch(name) or layout.VERSION.fullmatch(name) or name in (CHAMPION, PREVIOUS):
        raise RegistryError(
            f"{name!r} cannot be an alias",
            expected="a lower-case letter, then letters, digits, '.', '_', '-'; nothing like v0001",
            done="nothing was changed",
            todo="name the alias first, then the version"
            if layout.VERSION.fullmatch(name)
            else "champion and previous are set by promote and rollback",
        )
    with layout.locked_folder(dataset, workspace) as directory:
        new = layout.aliases(directory)
        if version is None and name not in new:
            others = ", ".join(sorted(new)) or "none"
            raise RegistryError(
                f"{dataset} has no alias {name}", expected=f"one of {others}", done="nothing was changed"
            )
        before = new.pop(name, "")
        if version is not None:
            new[name] = resolve(dataset, version, workspace).version
        change = log.record("alias", who, why, alias=name, version=new.get(name, ""), before=before)
        layout.write_aliases(directory, new, change)


def _folders(workspace: Workspace) -> set[str]:
    local = {path.name for path in workspace.models.glob("*") if path.is_dir()}
    remote = mirror.of_workspace(workspace)
    return local if remote is None else local | set(remote.store.folders(remote.name(workspace.models)))


def _problem(directory: Path, version: str) -> str:
    return (
        ensure_local(directory / version)
        or manifests.find_damage(directory / version, thorough=True)
        or layout.manifest_problem(directory, version)
    )


def _published(
    model_sha256: str, facts: Mapping[str, Any], directory: Path, workspace: Workspace
) -> ModelVersion | None:
    """The intact version of a model with the same operating point; a damaged one is left alone."""
    for name in layout.version_names(directory):
        try:
            published = manifests.read(directory / name)["facts"]
        except FormatError:
            continue
        is_same = published["model_sha256"] == model_sha256 and point_of_version.is_same(published, facts)
        if is_same and not _problem(directory, name):
            return _load(directory / name, workspace)
    return None


def _load(directory: Path, workspace: Workspace) -> ModelVersion:
    manifest = manifests.read(directory)
    facts = manifest["facts"]
    return ModelVersion(
        path=workspace.relative(directory),
        digest=manifest["digest"],
        model_sha256=facts["model_sha256"],
        dataset=facts["dataset"],
        version=facts["version"],
    )
