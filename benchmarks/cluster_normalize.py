"""Decoding a folder in one process, in several, on Dask and on Ray: the same bytes, images a second.

    python benchmarks/cluster_normalize.py FOLDER [--workers 1 2] [--runners processes dask ray]

Every run is the stage itself in a new process and a new workspace, against one Prefect server that the
benchmark starts; the clock covers the stage with the start and end of its cluster. The rival is the
same stage in one process. Images a second of wall time, CPU-seconds of the process and its children, one run
each (n = 1); what Ray spends is not in them, since its workers are no children.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def one(folder: str, runner: str, workers: int, portion: int) -> None:
    """One run; prints its figures."""
    from tasks.core.operations import environment, prefect_server

    environment.prepare_command()
    prefect_server.start()
    from prefect import flow

    from tasks.core.config import NormalizeSettings, SourceSettings
    from tasks.core.data.sources import acquire
    from tasks.core.data.tensors import distributed_decode
    from tasks.core.workspace import Workspace
    from tasks.normalize import normalize
    from tasks.parameters.runner_settings import RunnerName, RunnerSettings

    workspace = Workspace.open(tempfile.mkdtemp(prefix="plumbline-normalize-"))
    distributed_decode.MAX_IMAGES = portion or distributed_decode.MAX_IMAGES
    source = acquire.acquire(SourceSettings(dataset=folder), workspace)
    settings = RunnerSettings(RunnerName(runner), workers if runner != "sequence" else None)
    times: list[float] = []

    @flow
    def stage() -> object:
        began = time.perf_counter()
        made = normalize.with_options(result_storage=workspace.results)(source, NormalizeSettings(), settings)
        times.append(time.perf_counter() - began)
        return made

    prefect_server.wait_until_ready()
    cpu = _cpu()
    cache = stage()
    files = b"".join(
        hashlib.sha256(path.read_bytes()).digest()
        for path in sorted(cache.directory.iterdir())
        if path.name != "manifest.json"
    )
    digest = hashlib.sha256(files).hexdigest()[:16]
    print("RESULT", cache.digest, digest, source.images, f"{times[0]:.2f}", f"{_cpu() - cpu:.2f}")


def _cpu() -> float:
    """CPU-seconds of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runners", nargs="+", default=["processes", "dask", "ray"])
    parser.add_argument(
        "--portion", type=int, default=0, help="images in a portion; 0 takes the usual number"
    )
    parser.add_argument("--one", nargs=2, metavar=("RUNNER", "WORKERS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.folder, given.one[0], int(given.one[1]), given.portion)
        return
    from tasks.core.operations import environment, prefect_server

    environment.prepare_command()
    print(prefect_server.start())
    prefect_server.wait_until_ready()
    print(f"{'runner':<12}{'workers':>8}{'wall s':>9}{'img/s':>9}{'CPU s':>9}  cache digest      bytes")
    found = set()
    for runner, workers in [("sequence", 1), *((r, w) for r in given.runners for w in given.workers)]:
        command = [sys.executable, __file__, given.folder, "--portion", str(given.portion)]
        done = subprocess.run(
            [*command, "--one", runner, str(workers)],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
        if not lines:
            sys.exit(done.stdout + done.stderr)
        _, cache, digest, images, wall, cpu = lines[0].split()
        found.add((cache, digest))
        rate = int(images) / float(wall)
        print(f"{runner:<12}{workers:>8}{wall:>9}{rate:>9,.0f}{cpu:>9}  {cache}  {digest}", flush=True)
    print("the same digest and the same bytes in every run" if len(found) == 1 else f"DIFFERENT: {found}")
    sys.exit(len(found) != 1)


if __name__ == "__main__":
    main()
