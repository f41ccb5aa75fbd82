"""Whether the installation, Prefect's server and a workspace are sound: what `plumbline doctor` looks at."""

import base64
import json
import os
import shlex
import shutil
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tasks.core.model.devices import gpu, runtime
from tasks.core.operations import prefect_server, run_lock
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage import code_hash, publish
from tasks.core.storage import atomic, lock, manifests, mirror
from tasks.core.workspace import Workspace

FLOW = "train-image-classifier"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        about: What.
        found: What there was.
        todo: How to mend it; empty if it is as it should be.
    """

    about: str
    found: str
    fix: str = ""


def run_checks(
    workspace: Workspace, min_free_gb: float = 2.0, progress: Progress = ignore_progress
) -> list[Finding]:
    """Look at everything.

    Args:
        workspace: Every finished directory of it is hashed.
        least_free: GB of the workspace's disk that shall be free.
        progress: Told directories hashed.
    """
    looks: list[Callable[[], Iterator[Finding]]] = [
        _versions,
        _devices,
        _server,
        lambda: _disk(workspace, min_free_gb),
        lambda: _locks(workspace),
        lambda: _leftovers(workspace),
        lambda: _outputs(workspace, progress),
        lambda: _store(workspace),
    ]
    return [finding for look in looks for finding in look()]


def _versions() -> Iterator[Finding]:
    declared = tomllib.loads((code_hash.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in declared["dependencies"]:
        wanted = Requirement(text)
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not wanted.specifier.contains(version, prereleases=True):
            mend = f"pip install -c constraints.txt '{wanted}'"
            yield Finding("versions", f"{wanted.name} {version or 'is not installed'}, wanted {wanted}", mend)
            return
    yield Finding("versions", f"all {len(declared['dependencies'])} libraries as declared")


def _devices() -> Iterator[Finding]:
    """TensorFlow is loaded only where there is a GPU to ask it for."""
    count = gpu.nvidia_gpu_count()
    if not count:
        yield Finding("devices", f"{os.cpu_count()} cores, no NVIDIA GPU")
        return
    with runtime.suppress_stderr():
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
        mend = "start it (make dashboard), or unset PREFECT_API_URL to have runs start their own"
        yield Finding("server", f"no answer at {address}: {error}", mend)
        return
    ours = metadata.version("prefect")
    if version != ours:
        mend = f"install prefect=={version} here, or {ours} there"
        yield Finding("server", f"{address} is Prefect {version}, this is {ours}", mend)
    else:
        yield Finding("server", f"Prefect {version} at {address}")
    yield from _workers(address)


def _workers(address: str) -> Iterator[Finding]:
    """For each pool that a deployment of ours needs, whether there is one with a worker."""
    wanted = {"flows": {"name": {"any_": [FLOW]}}}
    deployments = _ask(f"{address}/deployments/filter", wanted)
    pools = sorted({deployment["work_pool_name"] for deployment in deployments} - {None})
    if not pools:
        yield Finding("worker", "no deployment is there, so none is needed (docs/schedules.md)")
    for pool in pools:
        workers = _ask(f"{address}/work_pools/{pool}/workers/filter", {})
        online = [worker["name"] for worker in workers if worker["status"] == "ONLINE"]
        if online:
            yield Finding("worker", f"pool {pool}: {', '.join(online)}")
        else:
            found = f"pool {pool} has no worker: scheduled runs will be late"
            yield Finding("worker", found, f"prefect worker start --pool {pool}")


def _disk(workspace: Workspace, min_free_gb: float) -> Iterator[Finding]:
    place = next(path for path in (workspace.root, *workspace.root.parents) if path.exists())
    free = shutil.disk_usage(place).free / 1e9
    mend = "" if free >= min_free_gb else "free some space: `plumbline models gc`, old folders in tensors/"
    yield Finding("disk", f"{free:.1f} GB free for {workspace.root}", mend)


def _locks(workspace: Workspace) -> Iterator[Finding]:
    for dataset, holder, alive in run_lock.active_runs(workspace):
        if alive:
            yield Finding("runs", f"{dataset}: {holder} is under way")
        else:
            mend = f"the next run of {dataset} marks it as crashed and goes on from where it was"
            yield Finding("runs", f"{dataset}: {holder} was killed", mend)


def _leftovers(workspace: Workspace) -> Iterator[Finding]:
    """Each file or folder that a killed process was writing, by its path."""
    for path in atomic.leftovers(workspace.root):
        found = f"{workspace.relative(path)}: a process that was killed was writing it"
        yield Finding("leftovers", found, "plumbline doctor --fix removes it")


def remove_leftovers(workspace: Workspace) -> list[Path]:
    """Remove what killed processes were writing, each while its locks are held.

    Returns:
        What was removed. What another process may still be writing (it has the lock) stays.
    """
    return [path for path in atomic.leftovers(workspace.root) if _remove_locked(path, workspace)]


def _remove_locked(leftover: Path, workspace: Workspace) -> bool:
    with ExitStack() as stack:
        for path in _locks_of(leftover, workspace):
            if not lock.taken(stack.enter_context(lock.opened(path))):
                return False
        atomic.remove(leftover)
    return True


def _locks_of(leftover: Path, workspace: Workspace) -> list[Path]:
    """The locks that a writer of it may hold: of what it was to become, and of the folders that it is in."""
    finished = atomic.finished_path(leftover)
    own = [publish.lock_path(finished), publish.lock_path(finished.with_suffix(""))]
    folders = [parent / ".lock" for parent in leftover.parents if parent.is_relative_to(workspace.root)]
    return sorted({path for path in (*own, *folders) if path.exists()})


def _outputs(workspace: Workspace, progress: Progress) -> Iterator[Finding]:
    there = (path.parent for path in workspace.root.glob(f"*/**/{manifests.MANIFEST}"))
    finished = sorted(directory for directory in there if not publish.is_manifest_only(directory))
    damaged = 0
    for done, directory in enumerate(finished, 1):
        problem = manifests.find_damage(directory, thorough=True)
        progress(done, len(finished), workspace.relative(directory))
        if problem:
            damaged += 1
            kept = directory.is_relative_to(workspace.models)
            mend = (
                "restore it from a copy"
                if kept
                else f"rm -r {shlex.quote(str(directory))} (the next run makes it again)"
            )
            yield Finding("outputs", problem, mend)
    if not damaged:
        yield Finding("outputs", f"all {len(finished)} finished directories are whole, every byte checked")


def _store(workspace: Workspace) -> Iterator[Finding]:
    """What the store of a workspace at an address has, by names and sizes."""
    remote = mirror.of_workspace(workspace)
    if remote is None:
        return
    from tasks.core.storage import inventory  # brings fsspec, which few commands need

    taken = inventory.take_inventory(remote)
    for directory, problem in taken.broken.items():
        kept = directory.startswith("models/")
        mend = "restore its objects" if kept else "the next run that needs it makes it again and sends it"
        yield Finding("store", problem, mend)
    if taken.orphans:
        size, some = sum(taken.orphans.values()) / 1e6, next(iter(taken.orphans))
        found = f"{size:.1f} MB in {len(taken.orphans)} folders belong to nothing, such as {some}"
        mend = "nobody reads them; the run whose upload was killed completes it, or remove the folder"
        yield Finding("store", f"{found} (an upload is under way, or was killed or overtaken)", mend)
    if taken.unfinished:
        found = f"{len(taken.unfinished)} uploads in parts never completed, such as {taken.unfinished[0]}"
        yield Finding("store", found, "give the bucket a rule that aborts incomplete multipart uploads")
    if not taken.broken:
        yield Finding("store", f"all {taken.complete} directories at {workspace.address} are whole, by size")


def _ask(address: str, body: Any = None) -> Any:
    """GET, or POST with a JSON body; the answer as JSON."""
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
