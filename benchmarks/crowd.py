"""Many runs at once on one workspace and one Prefect server: is a row lost, a version doubled, a lock hit?

    python benchmarks/crowd.py                     # 8 runs of one dataset, which is downloaded once
    python benchmarks/crowd.py --datasets 20       # 20 runs of 20 datasets, 8 at a time, against SQLite
    python benchmarks/crowd.py --datasets 20 --database postgresql+asyncpg://user@host/name

The datasets are folders of striped pictures; the one dataset is a parquet file behind a local HTTP server
that counts what is asked of it. With one dataset, a run is also killed with -9 and its end looked up.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.prefect_service import ROOT, Service
from benchmarks.schedules import photo

AT_ONCE = 8
TRAIN = [sys.executable, str(ROOT / "flows" / "train_flow.py"), "--epochs", "2"]
SIGNS = "database is locked|deadlock|TimeoutError|QueuePool limit|too many clients"
TROUBLE = re.compile(SIGNS, re.IGNORECASE)


class Counting(SimpleHTTPRequestHandler):
    """Serves files and counts the requests for their content."""

    asked: list[str] = []  # noqa: RUF012 - one list for all requests, by intent

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


def parquet(folder: Path) -> Path:
    """A folder of pictures as one file in the Hugging Face hub's layout."""
    names = sorted(path.name for path in folder.iterdir())
    rows = [
        {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": label}
        for label, name in enumerate(names)
        for path in sorted((folder / name).iterdir())
    ]
    feature = {"features": {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps({"info": feature})})
    path = folder.with_suffix(".parquet")
    pq.write_table(table, path)
    return path


def train(service: Service, workspace: Path, dataset: str, seed: int) -> tuple[int, str]:
    done = subprocess.run(
        [*TRAIN, "--workspace", str(workspace), "--dataset", dataset, "--seed", str(seed)],
        env=service.environment,
        cwd=workspace.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def crowd(service: Service, workspace: Path, datasets: list[str]) -> bool:
    """One run for each entry, at most eight at a time; seeds count up. Prints what became of them."""
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(lambda job: train(service, workspace, job[1], job[0]), enumerate(datasets)))
    wall = time.perf_counter() - began
    failed = [said for code, said in ended if code]
    said = "".join(said for _, said in ended) + (service.home / "server.log").read_text()
    table = pd.read_parquet(workspace / "metrics" / "runs")
    versions = table.groupby("dataset")["version"].nunique()
    states = pd.Series([run["state_name"] for run in service.flow_runs()]).value_counts().to_dict()
    print(f"{len(datasets)} runs in {wall:.0f} s; failed: {len(failed)}; Prefect's states: {states}")
    print(f"rows: {len(table)}; versions: {versions.sum()}; signs of trouble: {len(TROUBLE.findall(said))}")
    for text in failed[:2]:
        print(text[-2000:])
    return not failed and len(table) == len(datasets) == versions.sum()


def one_dataset(service: Service, scratch: Path) -> bool:
    for number in range(60):
        photo(scratch / "stripes", number)
    file = parquet(scratch / "stripes")
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Counting(*a, directory=str(scratch)))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{file.name}"
    sound = crowd(service, scratch / "workspace", [address] * AT_ONCE)
    print(f"requests for the file's content: {len(Counting.asked)}")
    server.shutdown()
    return killed(service, scratch) and sound


def killed(service: Service, scratch: Path) -> bool:
    """Kill a run with -9 while it trains, run again, and look the first one's state up."""
    arguments = ["--workspace", str(scratch / "workspace"), "--dataset", "digits", "--epochs", "400"]
    first = subprocess.Popen([*TRAIN, *arguments], env=service.environment, stdout=subprocess.PIPE, text=True)
    if first.stdout is None:
        raise RuntimeError("no pipe")
    while "epoch" not in (line := first.stdout.readline()):
        if not line:
            raise RuntimeError("the run ended before it trained")
    os.kill(first.pid, 9)
    first.wait()
    ids = {run["id"] for run in service.flow_runs() if run["state_type"] == "RUNNING"}
    code, said = train(service, scratch / "workspace", "digits", 1)
    states = {run["id"]: run["state_name"] for run in service.flow_runs()}
    print(f"killed with -9: {len(ids)} left Running; after the next run: {[states[id_] for id_ in ids]}")
    return code == 0 and "is marked as crashed" in said and {states[id_] for id_ in ids} == {"Crashed"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=int, default=0, help="runs of that many different datasets")
    parser.add_argument("--database", default="", help="another database than SQLite for the server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with Service(scratch / "prefect", given.database) as service:
            if given.datasets:
                folders = [scratch / f"stripes{number:02}" for number in range(given.datasets)]
                for place in folders:
                    for number in range(60):
                        photo(place, number)
                sound = crowd(service, scratch / "workspace", [str(place) for place in folders])
            else:
                sound = one_dataset(service, scratch)
    sys.exit(not sound)


if __name__ == "__main__":
    main()
