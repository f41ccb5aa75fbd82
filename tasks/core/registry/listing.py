"""Text tables of the registry: one row per version, and the details of one version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import shares
from tasks.core.config import NON_OUTPUT_PARAMETERS, Fit
from tasks.core.errors import FormatError
from tasks.core.metrics.declared import declarations
from tasks.core.registry import layout, log, registry
from tasks.core.stage import publish
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

DAMAGE = "damage"  # what is damaged, in the row of a damaged version


def version_rows(workspace: Workspace, dataset: str | None = None) -> list[dict[str, str]]:
    """One row per version, sorted by dataset and number.

    The row of a damaged version says so in place of its figures, and has the damage under `DAMAGE`.

    Args:
        workspace: The workspace with the registry.
        dataset: Only this dataset; None lists all.
    """
    names = registry.datasets(workspace) if dataset is None else [dataset]
    return [row for name in names for row in _rows(name, workspace)]


def model_rows(workspace: Workspace, dataset: str | None = None) -> list[dict[str, Any]]:
    """One row per version, as values: dataset, version, aliases, damage, test metrics, model file.

    The metrics of a version whose manifest cannot be read are None.

    Args:
        workspace: The workspace with the registry.
        dataset: Only this dataset; None lists all.
    """
    names = registry.datasets(workspace) if dataset is None else [dataset]
    rows = []
    for name in names:
        directory, aliases = layout.synced_folder(name, workspace), _names_of(name, workspace)
        for version in layout.version_names(directory):
            held = sorted(aliases.get(version, []))
            row = {"dataset": name, "version": version, "aliases": held}
            rows.append(row | _scores_and_damage(directory / version))
    return rows


def model_columns() -> list[str]:
    """The columns of `model_rows`, for a table that may have no row."""
    return ["dataset", "version", "aliases", "damage", *declarations.row({}, "test_"), "model"]


def version_details(version: ModelVersion, workspace: Workspace) -> dict[str, str]:
    """The details of a version: file, aliases, origin, metrics with intervals, abstention thresholds."""
    manifest = version.manifest
    facts = manifest["facts"]
    height, width, channels = facts["shape"]
    return {
        "model": str(version.directory / registry.MODEL),
        "sha256": version.model_sha256,
        "aliases": ", ".join(_names_of(version.dataset, workspace).get(version.version, [])) or "none",
        "published": manifest["created"],
        "takes": f"uint8 images (N, {height}, {width}, {channels}), 0..255",
        "fit": str(Fit.of(facts)),
        "gives": f"probabilities of {', '.join(facts['classes'])}",
        "recipe": recipe_of(facts),
        "parameters": _pairs_text(
            {
                name: value
                for name, value in facts.get("parameters", {}).items()
                if name not in NON_OUTPUT_PARAMETERS
            }
        ),
        **_metrics(facts["metrics"]),
        "temperature": f"{facts['temperature']:.3f}, inside the model",
        **({"calibration": facts["calibration"]} if facts.get("calibration") else {}),
        **_abstention(facts["abstention"]),
        "exports": ", ".join(facts.get("exports", [])) or "none",
        **_all_images(facts),
        "made from": f"tensors {facts['tensors']}, training {facts['training']}",
        "code": facts.get("git_commit") or "not from a git checkout",
        "libraries": _pairs_text(facts.get("packages", {})),
    }


def log_rows(dataset: str, version: str, workspace: Workspace) -> list[dict[str, str]]:
    """The log entries about a version, oldest first."""
    return [
        {name: str(line.get(name, "")) for name in ("when", "who", "action")}
        | {"what": _changed(line), "why": str(line.get("why", ""))}
        for line in registry.history(dataset, workspace)
        if version in (line.get("version"), line.get("before"))
    ]


def _minute(manifest: Mapping[str, Any]) -> str:
    """When a version was published, without seconds."""
    return str(manifest["created"])[:16].replace("T", " ")


def _changed(line: Mapping[str, Any]) -> str:
    """What an entry of the log changed: a version, or an alias with its versions before and after."""
    before, after = line.get("before") or "none", line.get("version") or "none"
    if line["action"] in log.ALIAS_ACTIONS:
        return f"{line.get('alias', registry.CHAMPION)} {before} -> {after}"
    return str(line.get("version", ""))


def _rows(dataset: str, workspace: Workspace) -> list[dict[str, str]]:
    directory = layout.synced_folder(dataset, workspace)
    aliases = _names_of(dataset, workspace)
    return [
        {"dataset": dataset, "version": name, "aliases": ", ".join(aliases.get(name, []))}
        | _figures(directory / name)
        for name in layout.version_names(directory)
    ]


def recipe_of(facts: Mapping[str, Any]) -> str:
    """The recipe that trained a version; of a version that does not name it, the one that was asked for."""
    return str(facts.get("recipe") or facts.get("parameters", {}).get("recipe", ""))


def _figures(directory: Path) -> dict[str, str]:
    try:
        manifest = manifests.read(directory)
    except FormatError as error:
        return {"published": "", "test accuracy": "damaged", DAMAGE: error.summary}
    problem = "" if publish.is_manifest_only(directory) else manifests.find_damage(directory)
    if problem:
        return {"published": _minute(manifest), "test accuracy": "damaged", DAMAGE: problem}
    facts = manifest["facts"]
    return {
        "published": _minute(manifest),
        "test accuracy": shares.percent(facts["metrics"]["accuracy"]["value"]),
        "95 % interval": _interval(facts["metrics"]["accuracy"], percent=True),
        "recipe": recipe_of(facts),
        "size": f"{sum(entry['bytes'] for entry in manifest['files'].values()) / 1e6:.1f} MB",
    }


def _scores_and_damage(directory: Path) -> dict[str, Any]:
    try:
        metrics = manifests.read(directory)["facts"]["metrics"]
        damage = "" if publish.is_manifest_only(directory) else manifests.find_damage(directory)
    except FormatError as error:
        metrics, damage = {}, error.summary
    values = declarations.row(metrics, "test_")
    return {"damage": damage, **values, "model": str(directory / registry.MODEL)}


def _names_of(dataset: str, workspace: Workspace) -> dict[str, list[str]]:
    """Each version's aliases."""
    names: dict[str, list[str]] = {}
    for name, version in registry.aliases(dataset, workspace).items():
        names.setdefault(version, []).append(name)
    return names


def _metrics(metrics: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.replace("_", " "): f"{metric['value']:.4f} ({_interval(metric)} at 95 %)"
        for name, metric in metrics.items()
        if isinstance(metric, Mapping) and metric.get("value") is not None
    }


def _all_images(facts: Mapping[str, Any]) -> dict[str, str]:
    final, score = facts.get("all_images"), facts.get("cross_validated")
    if not final:
        return {}
    images = shares.counted(final["images"], "image")
    text = f"all_images/model.keras ({final['recipe']}), trained on {images}, test images too"
    if score:
        text += f"; cross-validated {shares.percent(score['accuracy'])} ({_interval(score, percent=True)})"
    return {"all images": text}


def _abstention(thresholds: list[Mapping[str, Any]]) -> dict[str, str]:
    return {
        f"{row['max_error'] * 100:.0f} % errors": f"answer from confidence {row['threshold']:.3f} on: "
        f"{shares.percent(row['coverage'])} of the test images"
        for row in thresholds
        if row["threshold"] is not None
    }


def _interval(metric: Mapping[str, Any], percent: bool = False) -> str:
    if percent:
        return shares.interval(metric["low"], metric["high"])
    return f"{metric['low']:.4f} to {metric['high']:.4f}"


def _pairs_text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
