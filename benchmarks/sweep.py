"""Twelve small trainings in sequence, processes, on Dask and on Ray: the same models, and what each takes.

    python benchmarks/sweep.py [--workers 2] [--runners sequence processes dask ray] [--folder PHOTOS]

Every run is `flows/sweep_flow.py` in a new process and workspace: 3 learning rates x 2 lengths x 2 seeds
of the default recipe on the bundled digits (or of `flash` on a folder), against one Prefect server that the
benchmark starts. Wall seconds of the trials alone (from the sweep's report, with the start and end of the
cluster) and of the command; CPU-seconds of the trials' trainings as their processes measured them, and of the
command with its children (Ray's workers are none of its children). n = 1. "models" is one SHA-256 over the
weights of all twelve: the benchmark fails if they differ.
"""

import argparse
import hashlib
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
DIGITS = ("--vary", "learning_rate=0.1,0.3,0.6", "--vary", "epochs=4,8", "--seeds", "2")
PHOTOS = (
    "--recipe",
    "flash",
    "--vary",
    "learning_rate=0.1,0.2,0.4",
    "--vary",
    "epochs=0.5,1",
    "--seeds",
    "2",
)


def run(runner: str, workers: int, folder: str | None) -> dict[str, str]:
    place = Path(tempfile.mkdtemp(prefix=f"plumbline-sweep-{runner}-"))
    asked = ("--dataset", folder, *PHOTOS) if folder else DIGITS
    where = ["--runner", runner] + (["--workers", str(workers)] if runner != "sequence" else [])
    command = [
        sys.executable,
        str(ROOT / "flows" / "sweep_flow.py"),
        *asked,
        *where,
        "--workspace",
        str(place),
    ]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    trials = pd.read_parquet(place / "metrics" / "trials")
    (page,) = place.glob("reports/*/sweep.html")
    clock = re.search(r"took ([\d.]+) s by the clock", page.read_text())
    weights = [
        place / "training" / digest / "weights.npz" for digest in trials.sort_values("trial")["training"]
    ]
    models = hashlib.sha256(b"".join(path.read_bytes() for path in weights)).hexdigest()
    cpu = sum(after[:2]) - sum(before[:2])
    return {
        "trials": str(len(trials)),
        "trials' wall s": clock[1] if clock else "",
        "command's wall s": f"{wall:.1f}",
        "trainings' CPU s": f"{trials['cpu_seconds'].sum():.1f}",
        "command's CPU s": f"{cpu:.1f}",
        "chosen": trials[trials["chosen"]]["varied"].iloc[0]
        + f", seed={trials[trials['chosen']]['seed'].iloc[0]}",
        "models": models[:16],
        "report": str(page),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runners", nargs="+", default=["sequence", "processes", "dask", "ray"])
    parser.add_argument("--folder", help="a folder of images instead of the digits")
    given = parser.parse_args()
    from tasks.core.operations import environment, prefect_server

    environment.prepare_command()
    print(prefect_server.start())
    prefect_server.wait_until_ready()
    rows = {}
    for runner in given.runners:
        rows[runner] = run(runner, given.workers, given.folder)
        print(runner, rows[runner], flush=True)
    print(pd.DataFrame(rows).T.drop(columns="report").to_string())
    same = len({row["models"] for row in rows.values()}) == 1
    print("the same models to the byte" if same else "DIFFERENT MODELS")
    sys.exit(not same)


if __name__ == "__main__":
    main()
