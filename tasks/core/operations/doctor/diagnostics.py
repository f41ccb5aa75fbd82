"""The checks of `plumbline doctor`: the installation, Prefect's server and a workspace."""

import base64
import json
import os
import shutil
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from tasks.core.model.devices import gpu, runtime
from tasks.core.operations import prefect_server, run_lock
from tasks.core.operations.doctor import integrity, leftovers, registry_files
from tasks.core.operations.doctor.finding import DOCTOR_FIX, RESTORE, Finding, command
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage import code_hash
from tasks.core.storage import mirror
from tasks.core.workspace import Workspace

FLOW = "train-image-classifier"


def run_checks(
    workspace: Workspace, min_free_gb: float = 2.0, progress: Progress = ignore_progress
) -> list[Finding]:
    """Run all checks.

    Args:
        workspace: The workspace; every file of its finished directories is hashed.
        min_free_gb: Minimum free space on the workspace's disk in GB.
        progress: Called with directories done.
    """
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": _versions,
        "devices": _devices,
        "server": _server,
        "disk": lambda: _disk(workspace, min_free_gb),
        "runs": lambda: _locks(workspace),
        "leftovers": lambda: _leftovers(workspace),
        "files": lambda: check_files(workspace, progress),
        "store": lambda: _store(workspace),
    }
    return [finding for about, check in checks.items() for finding in _to_its_end(about, check)]


def mend(workspace: Workspace) -> list[str]:
    """Remove what killed processes were writing and damaged outputs, and mend what can be mended.

    Returns:
        What was done, one sentence each.
    """
    removed = [f"removed {workspace.relative(path)}" for path in leftovers.remove(workspace)]
    findings = [finding for finding in check_files(workspace) if finding.mend]
    return removed + [finding.mend() for finding in findings if finding.mend]


def check_files(workspace: Workspace, progress: Progress = ignore_progress) -> Iterator[Finding]:
    """Check every byte of the workspace's files, apart from what killed processes were writing."""
    checks = {
        "outputs": lambda: integrity.outputs(workspace, progress),
        "tables": lambda: integrity.tables(workspace),
        "features": lambda: integrity.features(workspace),
        "hashes": lambda: integrity.remembered_hashes(workspace),
        "downloads": lambda: integrity.downloads(workspace),
        "registry": lambda: registry_files.registries(workspace),
        "results": lambda: registry_files.results(workspace),
    }
    for about, check in checks.items():
        yield from _to_its_end(about, check)


def _to_its_end(about: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check, and what it could not read: the other checks are made all the same."""
    try:
        yield from check()
    except OSError as error:
        yield Finding(about, f"cannot be checked: {error}", f"check what is named; a file: {RESTORE}")


def _versions() -> Iterator[Finding]:
    declared = tomllib.loads((code_hash.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in declared["dependencies"]:
        required = Requirement(text)
        try:
            version = metadata.version(required.name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not required.specifier.contains(version, prereleases=True):
            found = f"{required.name} {version or 'is not installed'}, required {required}"
            yield Finding(
                "versions", found, command("pip", "install", "-c", "constraints.txt", str(required))
            )
            return
    yield Finding("versions", f"all {len(declared['dependencies'])} libraries have the declared versions")


def _devices() -> Iterator[Finding]:
    """Check for GPUs. TensorFlow is imported only if the machine has one."""
    count = gpu.nvidia_gpu_count()
    if not count:
        yield Finding("devices", f"{os.cpu_count()} cores, no NVIDIA GPU")
        return
    with runtime.quiet_tensorflow():
        from tasks.core.model.devices import device
    name = device.name()
    if name == "CPU":
        yield Finding("devices", f"{count} GPU(s) lie idle, {gpu.IDLE}", gpu.HOW_TO_FIX)
    else:
        yield Finding("devices", f"{count} GPU(s): {name}")


def _server() -> Iterator[Finding]:
    address = prefect_server.server_address()
    if not address:
        yield Finding("server", "none runs; each run starts a temporary one (`make dashboard` keeps one)")
        return
    try:
        version = _ask(f"{address}/admin/version")
    except OSError as error:
        fix = "start it (make dashboard), or unset PREFECT_API_URL, so that runs start a temporary server"
        yield Finding("server", f"no answer at {address}: {error}", fix)
        return
    installed = metadata.version("prefect")
    if version != installed:
        fix = f"install prefect=={version} here, or prefect=={installed} for the server"
        yield Finding("server", f"{address} is Prefect {version}, this installation is {installed}", fix)
    else:
        yield Finding("server", f"Prefect {version} at {address}")
    yield from _workers(address)


def _workers(address: str) -> Iterator[Finding]:
    """Check that each work pool of a deployment of the training flow has a worker."""
    of_training = {"flows": {"name": {"any_": [FLOW]}}}
    deployments = _ask(f"{address}/deployments/filter", of_training)
    pools = sorted({deployment["work_pool_name"] for deployment in deployments} - {None})
    if not pools:
        yield Finding("worker", "there is no deployment, so no worker is needed (docs/schedules.md)")
    for pool in pools:
        workers = _ask(f"{address}/work_pools/{pool}/workers/filter", {})
        online = [worker["name"] for worker in workers if worker["status"] == "ONLINE"]
        if online:
            yield Finding("worker", f"pool {pool}: {', '.join(online)}")
        else:
            found = f"pool {pool} has no worker: scheduled runs will be late"
            yield Finding("worker", found, command("prefect", "worker", "start", "--pool", pool))


def _disk(workspace: Workspace, min_free_gb: float) -> Iterator[Finding]:
    existing = next(path for path in (workspace.root, *workspace.root.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    fix = "" if free_gb >= min_free_gb else "free some space: `plumbline prune`, `plumbline models gc`"
    yield Finding("disk", f"{free_gb:.1f} GB free for {workspace.root}", fix)


def _locks(workspace: Workspace) -> Iterator[Finding]:
    for dataset, owner, alive in run_lock.active_runs(workspace):
        if alive:
            yield Finding("runs", f"{dataset}: {owner} is in progress")
        else:
            fix = f"the next run of {dataset} marks it as crashed and resumes it"
            yield Finding("runs", f"{dataset}: {owner} was killed", fix)


def _leftovers(workspace: Workspace) -> Iterator[Finding]:
    """Find each file or directory that a killed process was writing."""
    for path in leftovers.find(workspace):
        found = f"{workspace.relative(path)}: a process that was killed was writing it"
        yield Finding("leftovers", found, f"{DOCTOR_FIX} removes it")


def _store(workspace: Workspace) -> Iterator[Finding]:
    """Check the store of a workspace at an address, by names and sizes of its objects."""
    remote = mirror.of_workspace(workspace)
    if remote is None:
        return
    from tasks.core.storage import inventory  # imports fsspec, which few commands need

    stored = inventory.take_inventory(remote)
    for directory, problem in stored.broken.items():
        is_model = directory.startswith("models/")
        fix = "restore its objects" if is_model else "the next run that needs it builds and uploads it again"
        yield Finding("store", problem, fix)
    if stored.orphans:
        megabytes, example = sum(stored.orphans.values()) / 1e6, next(iter(stored.orphans))
        found = (
            f"{megabytes:,.1f} MB in {len(stored.orphans):,} folders belong to no manifest, such as {example}"
        )
        fix = "a killed upload is completed by the next such run; other folders can be removed"
        yield Finding("store", f"{found} (from an upload in progress, or a killed or superseded one)", fix)
    if stored.unfinished:
        found = f"{len(stored.unfinished):,} incomplete multipart uploads, such as {stored.unfinished[0]}"
        yield Finding("store", found, "give the bucket a rule that aborts incomplete multipart uploads")
    if not stored.broken:
        yield Finding(
            "store", f"all {stored.complete} directories at {workspace.address} are complete, by size"
        )


def _ask(address: str, body: Any = None) -> Any:
    """Send a GET request, or a POST request with a JSON body; return the JSON answer."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | _authorization()
    request = urllib.request.Request(address, content, headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def _authorization() -> dict[str, str]:
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
