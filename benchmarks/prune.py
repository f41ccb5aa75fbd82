"""What `plumbline prune` removes from a workspace of many runs, and that what it keeps still reproduces.

    python benchmarks/prune.py --runs 30 --keep 5

Runs of the bundled digits with other seeds, one epoch each, in one process. Then bytes before and after, and
`plumbline reproduce` of each kept run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flows.train_flow import train_flow
from tasks.core.runs import order, prune, tables
from tasks.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]


def disk_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def plumbline(*words: str) -> str:
    """The output of a command, which must succeed."""
    command = [sys.executable, "-m", "flows", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--keep", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch) / "ws")
        for seed in range(arguments.runs):
            train_flow(epochs=1, seed=seed, workspace=workspace.root)
        rows = tables.read("runs", workspace, columns=["run_id", "started", "version"])
        kept = order.by_start(rows).tail(arguments.keep)["run_id"].tolist()
        before = disk_bytes(workspace.root)
        done = prune.prune(workspace, arguments.keep, timedelta(0))
        after = disk_bytes(workspace.root)
        print(f"{os.cpu_count()} cores; {len(rows)} runs, {rows['version'].nunique()} published versions")
        print(
            f"before {before / 1e6:.1f} MB, after {after / 1e6:.1f} MB; {len(done.removed)} outputs removed"
        )
        for run in reversed(kept):
            lines = plumbline("reproduce", run, "--workspace", str(workspace.root)).strip().splitlines()
            print(f"reproduce {run}: {lines[-1].strip()}")


if __name__ == "__main__":
    main()
