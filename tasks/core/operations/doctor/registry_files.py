"""Whether the registry's files, and Prefect's records of what stages returned, are what was written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.core.errors import FormatError, RegistryError
from tasks.core.operations.doctor.finding import DOCTOR_FIX, RESTORE, Finding
from tasks.core.registry import layout, log
from tasks.core.registry.commits import ALIASES, DECISION_LOG, DECISIONS, LOG
from tasks.core.registry.promotion import decisions
from tasks.core.stage.stages import HANDLES
from tasks.core.storage import lock, manifests
from tasks.core.workspace import Workspace

METADATA = {"storage_key", "expiration", "serializer", "prefect_version", "storage_block_id"}
FAILURE = {"__exc_type__", "message"}  # what Prefect writes of an exception
SERIALIZER = {
    "type": "json",
    "jsonlib": "json",
    "object_encoder": "prefect.serializers.prefect_json_object_encoder",
    "object_decoder": "prefect.serializers.prefect_json_object_decoder",
    "dumps_kwargs": {},
    "loads_kwargs": {},
}
VERSION_NUMBER = re.compile(r"\d+(\.\d+)+\S*")


def registries(workspace: Workspace) -> Iterator[Finding]:
    """Check the logs, the aliases, the decisions, and that all published versions are there."""
    for directory in sorted(path for path in workspace.models.glob("[!.]*") if path.is_dir()):
        broken = list(_logs(directory))
        yield from broken
        if not any(finding.about == "registry" and "is damaged" in finding.found for finding in broken):
            yield from _aliases(directory)
            yield from _versions(directory)
            yield from _evidence(directory)


def results(workspace: Workspace) -> Iterator[Finding]:
    """Check the records of what stages returned against the manifests of their outputs."""
    for path in sorted(path for path in workspace.results.glob("[!.]*") if path.is_file()):
        if problem := _record_problem(path, workspace):
            fix = f"`{DOCTOR_FIX}` removes it, and the next run finds the output without it"

            def mend(path: Path = path) -> str:
                path.unlink(missing_ok=True)
                return f"removed {workspace.relative(path)}"

            yield Finding("results", f"{path}: {problem}", fix, mend)


def _logs(directory: Path) -> Iterator[Finding]:
    for name in (LOG, DECISION_LOG):
        path = directory / name
        entries, problem = log.intact_entries(path)
        if name == LOG and not path.exists() and layout.version_names(directory):
            problem = "it is missing"
        if problem:
            fix = f"{RESTORE}; `{DOCTOR_FIX}` goes on with the {len(entries):,} lines that are intact"
            found = f"{path} is damaged: {problem}"
            yield Finding("registry", found, fix, lambda path=path: _rewrite(path))  # type: ignore[misc]
        elif problem := log.end_problem(path):
            fix = f"`{DOCTOR_FIX}`, or the next change, records it"
            yield Finding("registry", f"{path}: {problem}", fix, lambda path=path: _record_end(path))  # type: ignore[misc]


def _rewrite(path: Path) -> str:
    """Go on with the intact lines of a log; aliases.json, if it is intact, has the aliases of lost lines."""
    with lock.exclusive(path.parent / ".lock"):
        entries, _ = log.intact_entries(path)
        if path.name == LOG:
            content = layout.read_aliases_file(path.parent / ALIASES)[0]
            aliases = dict(content["aliases"]) if content else log.aliases(entries)
            why = "lines were damaged; `doctor --fix` went on with the others"
            entries.append(log.record("repair", "doctor", why, aliases=aliases))
        kept = log.rewrite(path, entries)
        if path.name == LOG:
            layout.rebuild_aliases(path.parent)
    return f"wrote {path} with its intact lines; the damaged one is {kept}"


def _record_end(path: Path) -> str:
    with lock.exclusive(path.parent / ".lock"):
        log.record_end(path)
    return f"recorded the length of {path}"


def _aliases(directory: Path) -> Iterator[Finding]:
    try:
        state = layout.alias_state(directory)
    except RegistryError as error:
        yield Finding("registry", error.summary, error.parts["to do"] or RESTORE)
        return
    if state.problem:

        def mend() -> str:
            with lock.exclusive(directory / ".lock"):
                layout.rebuild_aliases(directory)
            return f"wrote {directory / ALIASES} from {LOG}"

        yield Finding("registry", state.problem, f"`{DOCTOR_FIX}` writes it from {LOG}", mend)
    for name, version in state.aliases.items():
        if not (directory / version).is_dir():
            fix = "restore the version from a copy, or give the alias to another one"
            yield Finding("registry", f"{directory}: alias {name} points to {version}, which is missing", fix)


def _versions(directory: Path) -> Iterator[Finding]:
    entries = log.read(directory / LOG)
    removed = {entry.get("version") for entry in entries if entry["action"] == "delete"}
    for entry in entries:
        version = str(entry.get("version"))
        if entry["action"] != "publish" or version in removed:
            continue
        try:
            problem = layout.manifest_problem(directory, version)
        except FormatError:
            is_there = (directory / version).is_dir()  # its damage is a finding of the outputs
            problem = (
                "" if is_there else f"{directory / version} is missing, and the log has no removal of it"
            )
        if problem:
            yield Finding("registry", problem, RESTORE)


def _evidence(directory: Path) -> Iterator[Finding]:
    lines = log.read(directory / DECISION_LOG)
    wanted = {str(line["evidence"]) for line in lines if line.get("evidence")}
    wanted |= {str(line["test_set"]) for line in lines if "look" in line}
    found = {path.stem for path in (directory / DECISIONS).glob("[0-9a-f]*.json")}
    for name in sorted(wanted | found):
        path = directory / DECISIONS / f"{name}.json"
        if problem := decisions.problem_of(path):
            yield Finding("registry", f"{path} {problem}: the evidence of a decision", RESTORE)


def _record_problem(path: Path, workspace: Workspace) -> str:
    """What is wrong with a record, as text; one whose output is gone is never used, so nothing is."""
    try:
        record = json.loads(path.read_bytes())
        result, metadata = json.loads(record["result"]), record["metadata"]
        if set(result) == FAILURE and _is_ours(metadata, path):  # of a task that failed; it is never read
            return ""
        kind = HANDLES[result["__class__"]]
        handle = kind.unchecked(**result["data"])
    except (ValueError, KeyError, TypeError) as error:
        return f"it is no record of a stage's output ({type(error).__name__}: {error})"
    if (
        set(record) != {"metadata", "result"}
        or set(result) != {"__class__", "data"}
        or not _is_ours(metadata, path)
    ):
        return "its metadata are not those of a stage's output"
    directory = workspace.root / handle.path
    if not path.name.endswith(handle.digest) or directory.name != handle.digest:
        return "it is about another output than its name says"
    try:
        manifest = manifests.read(directory)
    except FormatError:
        return ""
    return _difference(result["data"], manifest)


def _is_ours(metadata: dict[str, Any], path: Path) -> bool:
    return (
        set(metadata) == METADATA
        and metadata["serializer"] == SERIALIZER
        and metadata["expiration"] is None
        and metadata["storage_block_id"] is None
        and Path(str(metadata["storage_key"])).name == path.name
        and VERSION_NUMBER.fullmatch(str(metadata["prefect_version"])) is not None
    )


def _difference(data: dict[str, Any], manifest: dict[str, Any]) -> str:
    facts = manifest["facts"] | {"digest": manifest["digest"]}
    different = [name for name in data if name in facts and data[name] != facts[name]]
    return f"it has another {', '.join(different)} than the manifest" if different else ""
