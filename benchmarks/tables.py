"""What reading and writing the metrics tables costs after many runs, with few parts and with one part a run.

    python benchmarks/tables.py --runs 10 990 10000

Rows of `runs` with texts as long as real ones are written directly. "filled" parts are what this version
keeps (1 MB or 1,000 rows each), "one a run" is what versions before it kept (--old). CPU milliseconds of one
process, medians of 5: reading the table; two columns of it; the last run's row; and adding one more run.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd
import pyarrow as pa

from tasks.core.runs import tables
from tasks.core.runs.columns import schemas
from tasks.core.runs.table_files import filling, parts
from tasks.core.workspace import Workspace

DATASET = "dataset=photos"
REPEATS = 5


def rows(first: int, count: int) -> pd.DataFrame:
    """Rows of the table `runs`; the texts are as long as those of a run of the digits."""
    packages = json.dumps({f"package-{number}": f"{number}.1.0" for number in range(250)})
    stages = json.dumps({f"stage {n}": {"digest": f"{n:016x}", "state": "Cached"} for n in range(9)})
    started = pd.Timestamp("2020-01-01", tz="UTC")
    return pd.DataFrame(
        {
            "run_id": f"run-{number:08d}",
            "started": started + pd.Timedelta(hours=number),
            "evaluation": f"{number // 100:016x}",
            "parameters": '{"recipe": "fast", "seed": 0, "epochs": 8}',
            "stages": stages,
            "distributions": packages,
            "packages": packages[:400],
            "test_accuracy": 0.9,
        }
        for number in range(first, first + count)
    )


def fill(folder: Path, count: int, rows_a_part: int, dataset: str = DATASET) -> None:
    """Write the parts of `count` runs of a dataset, named as its partition is."""
    schema = schemas.SCHEMAS["runs"]
    of_dataset = folder / dataset
    parts.write_columns([of_dataset], folder, schema)
    for first in range(0, count, rows_a_part):
        frame = rows(first, min(rows_a_part, count - first))
        content = filling.with_columns(pa.Table.from_pandas(frame, preserve_index=False), schema)
        parts.write(of_dataset / f"run-{first:08d}.parquet", content)
    parts.list_new(folder)


def milliseconds(call: Callable[[], object]) -> float:
    """Median CPU time of a call."""
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return 1_000 * statistics.median(taken)


def measured(count: int, rows_a_part: int) -> list[float]:
    """The figures of one layout after `count` runs."""
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        folder = workspace.metrics / "runs"
        folder.mkdir(parents=True)
        fill(folder, count, rows_a_part)
        two, last = ["run_id", "evaluation"], [("run_id", "==", f"run-{count - 1:08d}")]
        new = iter(range(count, count + REPEATS))
        reads = [
            milliseconds(lambda: tables.read("runs", workspace)),
            milliseconds(lambda: tables.read("runs", workspace, columns=two)),
            milliseconds(lambda: tables.read("runs", workspace, filters=last)),
        ]
        if rows_a_part == 1:
            return reads
        return [
            *reads,
            milliseconds(
                lambda: tables.append(
                    "runs", "photos", f"run-{(number := next(new)):08d}", rows(number, 1), workspace
                )
            ),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 990, 10_000])
    parser.add_argument("--old", action="store_true", help="also with one part a run, which takes minutes")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores; CPU ms, median of {REPEATS}")
    print(f"{'runs':>7} {'parts':<9} {'all':>8} {'2 columns':>10} {'1 row':>8} {'append':>8}")
    for count in arguments.runs:
        layouts = {"filled": filling.FULL_ROWS} | ({"one a run": 1} if arguments.old else {})
        for name, rows_a_part in layouts.items():
            figures = measured(count, rows_a_part)
            print(f"{count:>7} {name:<9}" + "".join(f"{figure:>9.1f}" for figure in figures))


if __name__ == "__main__":
    main()
