"""The registry: published models as plain files, immutable, numbered, with aliases.

`shelf` has the layout on disk and says why it is whole at any moment; `retention` removes versions.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError
from tasks.core.evaluation.scores import read_calibration, read_metrics
from tasks.core.registry import commits, layout, log, model_card
from tasks.core.stage.handles import Evaluation, Exports, ModelVersion, Profile, TrainedModel
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.publish import Stopwatch, ensure_local
from tasks.core.storage import atomic, manifests, mirror
from tasks.core.workspace import Workspace

MODEL = "model.keras"
CARD = "model_card.md"
EXPORTS = "exports"
PROFILE = "profile"
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
) -> ModelVersion:
    """Give a trained model its version; if the same model is published already, the version it has.

    Args:
        trained: The model; its `model.keras` is copied.
        evaluation: Of that model.
        dataset: Under which it is filed.
        facts: What the manifest and the model card shall know: classes, shape, parameters, seed, packages,
            git_commit, ...; JSON values.
        who: Stands in the log.
        exported: The model in other formats: they are copied into the version's folder `exports`. A version
            that is published already stays as it is.
        profiled: What the model's images are like: copied into the version's folder `profile`.

    Raises:
        RegistryError: The evaluation, the exports or the profile are of another model.
    """
    _same_model("evaluation", evaluation.model_sha256, trained)
    if exported is not None:
        _same_model("exports", exported.model_sha256, trained)
    if profiled is not None:
        _same_model("profile", profiled.model_sha256, trained)
    with layout.locked_folder(dataset, workspace) as place:
        for name in layout.version_names(place):
            if manifests.read(place / name)["facts"]["model_sha256"] == trained.model_sha256:
                return _load(place / name, workspace)
        name = layout.next_version_name(place)
        known = {
            **facts,
            "dataset": dataset,
            "version": name,
            "who": who,
            "exports": list(exported.passed) if exported else [],
            "profile": {"split": profiled.split, "images": profiled.images} if profiled else None,
        }
        _put(place / name, trained, evaluation, {EXPORTS: exported, PROFILE: profiled}, known, workspace)
        log.append(place / layout.LOG, log.record("publish", who, layout.LOGGED_BY_RUN, version=name))
    return _load(place / name, workspace)


def versions(dataset: str, workspace: Workspace) -> list[ModelVersion]:
    """All versions, oldest first.

    Raises:
        FormatError: One of them is damaged (large files are checked by size and time only).
    """
    place = layout.synced_folder(dataset, workspace)
    return [_load(place / name, workspace) for name in layout.version_names(place)]


def resolve(dataset: str, name: str, workspace: Workspace) -> ModelVersion:
    """The version of that name, every byte of its files checked against its manifest.

    Args:
        name: A version such as "v0001", its number, or an alias.

    Raises:
        RegistryError: There is none, or its files are not what was published.
    """
    place = layout.synced_folder(dataset, workspace)
    known = layout.aliases(place)
    version = known.get(name) or (f"v{int(name):04d}" if name.isdecimal() else name)
    if version not in layout.version_names(place):
        raise _unknown(dataset, name, [*known, *layout.version_names(place)])
    problem = ensure_local(place / version) or manifests.find_damage(place / version, thorough=True)
    if problem:
        raise RegistryError(
            f"{dataset} {version} is not what was published",
            found=problem,
            done="nothing was loaded",
            todo="restore its files from a copy, or use another version",
        )
    return _load(place / version, workspace)


def champion(dataset: str, workspace: Workspace) -> ModelVersion | None:
    """The champion, checked as `resolve` does; None if there is none."""
    if CHAMPION not in aliases(dataset, workspace):
        return None
    return resolve(dataset, CHAMPION, workspace)


def aliases(dataset: str, workspace: Workspace) -> dict[str, str]:
    """Which version each alias names."""
    return layout.aliases(layout.synced_folder(dataset, workspace))


def history(dataset: str, workspace: Workspace) -> list[dict[str, Any]]:
    """Every change of the dataset's registry, oldest first: when, who, action, why, version, ..."""
    return log.read(layout.synced_folder(dataset, workspace) / layout.LOG)


def datasets(workspace: Workspace) -> list[str]:
    """Datasets that have published models, sorted."""
    return sorted(
        name for name in _folders(workspace) if layout.version_names(layout.synced_folder(name, workspace))
    )


@commits.retry_on_conflict
def promote(
    dataset: str, name: str, workspace: Workspace, *, who: str, why: str, expected_champion: str | None = None
) -> ModelVersion:
    """Make a version the champion; the one before gets the alias previous.

    Args:
        name: Version or alias.
        who, why: Stand in the log.
        instead_of: The version that must be champion still, "" for none; None doesn't ask.

    Raises:
        RegistryError: No such version, or another one has become champion in the meantime.
    """
    with layout.locked_folder(dataset, workspace) as place:
        version = resolve(dataset, name, workspace)
        now = layout.aliases(place)
        standing = now.get(CHAMPION, "")
        if expected_champion is not None and standing != expected_champion:
            raise RegistryError(
                f"another model of {dataset} has become champion in the meantime",
                expected=expected_champion or "no champion",
                found=standing or "no champion",
                done=f"{version.version} was not promoted",
                todo="run again: it will be compared with the new champion",
            )
        if standing != version.version:
            new = now | {CHAMPION: version.version} | ({PREVIOUS: standing} if standing else {})
            change = log.record("promote", who, why, version=version.version, before=standing)
            layout.write_aliases(place, new, change)
    return version


@commits.retry_on_conflict
def rollback(dataset: str, workspace: Workspace, *, who: str, why: str) -> ModelVersion:
    """Champion and previous change places; returns the champion.

    Raises:
        RegistryError: There is no previous champion.
    """
    with layout.locked_folder(dataset, workspace) as place:
        now = layout.aliases(place)
        if PREVIOUS not in now:
            raise RegistryError(
                f"{dataset} has no previous champion",
                found=f"aliases: {', '.join(now) or 'none'}",
                done="nothing was changed",
                todo="promote a version by its number",
            )
        version = resolve(dataset, PREVIOUS, workspace)
        new = now | {CHAMPION: now[PREVIOUS], PREVIOUS: now[CHAMPION]}
        change = log.record("rollback", who, why, version=version.version, before=now[CHAMPION])
        layout.write_aliases(place, new, change)
    return version


@commits.retry_on_conflict
def alias(dataset: str, name: str, version: str | None, workspace: Workspace, *, who: str, why: str) -> None:
    """Set an alias of one's own, or remove it.

    Args:
        name: Lower-case letters, digits and ". _ -"; not champion or previous.
        version: Version or alias that it shall name from now on; None removes it.
        who, why: Stand in the log.

    Raises:
        RegistryError: A name that cannot be an alias, or a version that isn't there.
    """
    if not ALIAS.fullmatch(name) or layout.VERSION.fullmatch(name) or name in (CHAMPION, PREVIOUS):
        raise RegistryError(
            f"{name!r} cannot be an alias of one's own",
            expected="a lower-case letter, then letters, digits, '.', '_', '-'; nothing like v0001",
            done="nothing was changed",
            todo="champion and previous are set by promote and rollback",
        )
    with layout.locked_folder(dataset, workspace) as place:
        new = layout.aliases(place)
        before = new.pop(name, "")
        if version is not None:
            new[name] = resolve(dataset, version, workspace).version
        change = log.record("alias", who, why, alias=name, version=new.get(name, ""), before=before)
        layout.write_aliases(place, new, change)


def _folders(workspace: Workspace) -> set[str]:
    here = {path.name for path in workspace.models.glob("*") if path.is_dir()}
    remote = mirror.of_workspace(workspace)
    return here if remote is None else here | set(remote.store.folders(remote.name(workspace.models)))


def _same_model(what: str, model_sha256: str, trained: TrainedModel) -> None:
    if model_sha256 != trained.model_sha256:
        raise RegistryError(
            f"the {what} would be of another model",
            expected=f"model {trained.model_sha256[:12]}",
            found=f"model {model_sha256[:12]}",
            done="nothing was published",
        )


def _put(
    final: Path,
    trained: TrainedModel,
    evaluation: Evaluation,
    folders: Mapping[str, Exports | Profile | None],
    facts: dict[str, Any],
    workspace: Workspace,
) -> None:
    """Build the version's directory beside `final`, send it to the store, and rename it into place."""
    calibrated = read_calibration(evaluation)
    whole = {
        **facts,
        "model_sha256": trained.model_sha256,
        "training": trained.digest,
        "evaluation": evaluation.digest,
        "tensors": evaluation.tensors,
        "images": evaluation.images,
        "metrics": read_metrics(evaluation)["test"],
        "temperature": trained.temperature,
        "abstention": calibrated["abstention"],
    }
    notes = final.parent / model_card.NOTES
    if not notes.exists():
        atomic.write_bytes(notes, model_card.notes_template().encode())
    with atomic.staging_directory(final) as staging:
        with Stopwatch() as stopwatch:
            _copy_files(staging, trained, folders)
            text = model_card.render(whole, model_card.read_notes(notes))
            (staging / CARD).write_text(text, encoding="utf-8")
        made_of = Ingredients(
            stage="publish",
            inputs={"training": trained.digest, "evaluation": evaluation.digest}
            | {name: folder.digest for name, folder in folders.items() if folder is not None},
            parameters={"dataset": whole["dataset"], "version": final.name},
        )
        manifests.write(staging, made_of.record(), whole, stopwatch.cost)
        atomic.sync(staging)
        commits.publish(staging, final, mirror.of_workspace(workspace))
        staging.rename(final)
        atomic.sync(final.parent)


def _copy_files(
    staging: Path, trained: TrainedModel, folders: Mapping[str, Exports | Profile | None]
) -> None:
    shutil.copyfile(trained.directory / MODEL, staging / MODEL)
    for name, folder in folders.items():
        if folder is not None:
            without_manifest = shutil.ignore_patterns(manifests.MANIFEST)
            shutil.copytree(folder.directory, staging / name, ignore=without_manifest)


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


def _unknown(dataset: str, name: str, known: list[str]) -> RegistryError:
    if known:
        return RegistryError(
            f"{dataset} has no model {name}", expected=f"one of {', '.join(known)}", found="none of that name"
        )
    return RegistryError(
        f"{dataset} has no published model",
        expected=f"{name}",
        found="nothing published yet",
        todo="train one first; `plumbline models list` shows what there is",
    )
