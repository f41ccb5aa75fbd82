"""What a whole first run costs by stage: from the folder of images to the report.

python benchmarks/whole_run.py --dataset FOLDER [--recipes flash fast] [--against PATH] [--result FILE]

Each run has a fresh workspace and no server to use, so it starts a temporary one, as a first run does. That
server's database is migrated before the first measured run. With `--against`, another working tree of the
repository is measured in turn. Each tree has had a run before, so that its modules are compiled.

CPU-seconds of a stage are those that the run's process took between the line before and the stage's line.
"start" ends with the first line; `download` has the imports that follow it, and the reading of the folder.
TensorFlow is imported beside other work, so its import is in whichever stage it falls. The temporary server
has a row of its own. "all" is what the system counted for the process and its children; "end" is the rest.
Peak memory is that of the run's process.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import pairs, quick

STAGES = ("download", "normalize", "audit", "train", "evaluate", "label_issues", "profile", "saliency")
STAGES += ("promote", "report")
RENAMED = {"suspect": "label_issues"}  # in earlier versions
MEASURES = ("wall, s", "peak memory, MB", "test accuracy, %")
ROWS = ("start", *STAGES, "end", "temporary server", "all", *MEASURES)


class Clock(threading.Thread):
    """CPU-seconds of a run's process and of its server, read while they live."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self.process, self.ended = psutil.Process(number), threading.Event()
        self.servers: dict[int, float] = {}
        self.start()

    def own(self) -> float:
        """Without the server, which has not ended yet."""
        return float(sum(self.process.cpu_times()[:4]))

    def run(self) -> None:
        while not self.ended.wait(0.1):
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                for child in self.process.children():
                    if "prefect" in " ".join(child.cmdline()):
                        self.servers[child.pid] = float(sum(child.cpu_times()[:4]))


def run(tree: Path, words: Sequence[object], environment: Mapping[str, str]) -> dict[str, float]:
    """One run that must succeed; its figures by row of the table."""
    began, before = time.perf_counter(), 0.0
    running = subprocess.Popen(
        [sys.executable, quick.FLOW, *map(str, words)],
        cwd=tree,
        env={**environment, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    clock, found, printed = Clock(running.pid), dict[str, float](), list[str]()
    assert running.stdout is not None  # noqa: S101 - a pipe
    for line in running.stdout:
        name = line.split(" ", 1)[0] if printed else "start"
        name = RENAMED.get(name, name)
        printed.append(line)
        if name in ROWS and name not in found:
            found[name], before = clock.own() - before, clock.own()
        if name == "accuracy":
            found["test accuracy, %"] = float(line.split()[1])
    _, status, usage = os.wait4(running.pid, 0)
    clock.ended.set()
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit("".join(printed))
    server, everything = sum(clock.servers.values()), usage.ru_utime + usage.ru_stime
    found |= {"temporary server": server, "end": everything - server - before, "all": everything}
    return found | {"wall, s": time.perf_counter() - began, "peak memory, MB": usage.ru_maxrss / 1e3}


def table(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> list[list[str]]:
    """A row a stage, a column a recipe and tree: medians."""
    rows = []
    for name in ROWS:
        texts = []
        for rounds in measured.values():
            values = [one[name] for one in rounds if name in one]
            digits = 2 if name.startswith("test") else 0 if name.startswith("peak") else 1
            texts.append(f"{median(values):,.{digits}f}" if values else "")
        rows.append([name, *texts])
    return rows


def trees(given: argparse.Namespace) -> dict[str, Path]:
    """The working trees that are measured, by their mark."""
    return {"now": pairs.ROOT} | ({"before": given.against.resolve()} if given.against else {})


def measure(given: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Every recipe of every tree, in turn."""
    measured: dict[str, list[dict[str, float]]] = {}
    for number in range(given.rounds):
        for recipe in given.recipes:
            for mark, tree in trees(given).items():
                with tempfile.TemporaryDirectory() as folder:
                    environment = quick.alone(Path(given.home))
                    words = ["--dataset", given.dataset, "--recipe", recipe, "--workspace", folder]
                    found = run(tree, words, environment)
                measured.setdefault(f"`{recipe}`, {mark}", []).append(found)
                print(f"  {recipe}, {mark}, round {number}: {found}", file=sys.stderr, flush=True)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="a folder of images, or a dataset's name")
    parser.add_argument("--recipes", nargs="+", default=["flash", "fast"])
    parser.add_argument("--against", type=Path, help="another working tree of the repository")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--result", type=Path, help="where the table is written, as in benchmarks/results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        given.home = home
        for tree in trees(given).values():  # migrates the database, compiles the modules
            with tempfile.TemporaryDirectory() as folder:
                run(tree, ["--epochs", 1, "--workspace", folder], quick.alone(Path(home)))
        measured = measure(given)
    columns, rows = ["CPU-seconds", *measured], table(measured)
    machine = pairs.machine()
    place = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB"
    device = f"{place}; load {pairs.load()} at the end"
    print(f"{device}; n = {given.rounds}")
    for row in [columns, *rows]:
        print(f"{row[0]:<18}" + "".join(f"{text:>18}" for text in row[1:]))
    if given.result:
        result = json.loads(given.result.read_text()) if given.result.exists() else {"pages": {}}
        result |= {"section": "A whole run by stage", "n": given.rounds, "device": device, "figures": {}}
        result |= {"command": "python benchmarks/whole_run.py --dataset FOLDER --against PATH"}
        result |= {"columns": columns, "rows": rows}
        given.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
