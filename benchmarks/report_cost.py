"""What evaluation, label issues and the report cost by the number of classes and images: CPU-seconds, memory.

python benchmarks/report_cost.py [--classes 10 100 1000] [--images 1000 10000 100000] [--profile 40]
    [--result report-cost.json]

The probabilities are those of benchmarks/evaluation_cost.py: a model that is right in some 70 % of the test
images. Images are 8x8 noise; the model, its audit and its promotion are small stand-ins. Each stage runs in a
process of its own. Imports are outside of the clock, but for those that a stage makes itself. Memory is how
far the peak lies above that before the stage; mapped pages that were read count. The page is report.html.
"""

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, os.environ.get("PLUMBLINE_BENCHMARK_TREE", str(HERE)))

import numpy as np  # noqa: E402 the line above decides which tree's tasks are imported

from benchmarks import evaluation_cost, pairs  # noqa: E402
from tasks.core.config import PromotePolicy  # noqa: E402
from tasks.core.evaluation import evaluate, label_issues  # noqa: E402
from tasks.core.registry.promotion import promotion  # noqa: E402
from tasks.core.reports import report  # noqa: E402
from tasks.core.reports.inputs import ReportInputs  # noqa: E402
from tasks.core.stage import publish  # noqa: E402
from tasks.core.stage.handles import Predictions, RawDataset  # noqa: E402
from tasks.core.stage.ingredients import Ingredients  # noqa: E402
from tasks.core.workspace import Workspace  # noqa: E402
from tests.support.fake_outputs import FakeOutputs  # noqa: E402

NAME = "model"
FACTS = {"parameters": {"dataset": "invented"}, "run_id": "run", "stages": {}}
STAGES = ("evaluate", "label issues", "report")
COLUMNS = [
    *("classes", "images", "evaluate, CPU-s", "MB", "label issues, CPU-s", "its MB"),
    *("report, CPU-s", "of it, MB", "page, kB"),
]


class Outputs(FakeOutputs):
    """Stand-ins with the probabilities of the other benchmark."""

    def predictions(self, name: str, skill: float, seed: int = 0) -> Predictions:
        """Probabilities of val and test."""
        classes, digest = len(self.classes), self.tensors().digest

        def write(staging: Path) -> dict[str, Any]:
            generator = np.random.default_rng(seed)
            for split in ("val", "test"):
                told = evaluation_cost.probabilities(self.labels(split), classes, generator)
                np.save(Predictions.path_in(staging, split), told)
            return {"model_sha256": sha256(name.encode()).hexdigest(), "tensors": digest}

        ingredients = Ingredients("predict", {"tensors": digest}, {"name": name})
        directory = self.workspace.root / "predictions" / ingredients.digest
        facts = publish.publish(directory, ingredients, write)["facts"]
        return Predictions(self.workspace.relative(directory), ingredients.digest, **facts)


def outputs(workspace: Workspace, classes: int, images: int) -> Outputs:
    names = tuple(f"class {number:04}" for number in range(classes))
    made = Outputs(workspace, names, images, dataset=f"invented-{classes}-{images}")
    made.predictions(NAME, 0.0)
    return made


def stage(made: Outputs, name: str) -> Callable[[], Any]:
    """The work that is measured; what it needs is there already."""
    tensors, workspace = made.tensors(), made.workspace
    predictions = made.predictions(NAME, 0.0)
    if name == "evaluate":
        return lambda: evaluate.evaluate(predictions, tensors, workspace, refresh=True)
    evaluation = evaluate.evaluate(predictions, tensors, workspace)
    if name == "label issues":
        return lambda: label_issues.find_label_issues(evaluation, tensors, None, workspace, refresh=True)
    issues = label_issues.find_label_issues(evaluation, tensors, None, workspace)
    ingredients = Ingredients("download", {}, {})
    publish.publish(workspace.root / "raw" / ingredients.digest, ingredients, lambda staging: {})
    digest = ingredients.digest
    raw = RawDataset(f"raw/{digest}", digest, made.dataset, "folder", "", sum(tensors.groups or (0,)))
    trained = made.trained(NAME)
    decision = promotion.promote(
        *(trained, evaluation, None, PromotePolicy.better, tensors, FACTS, workspace, "benchmark")
    )
    shown = ReportInputs(raw, tensors, made.audit(), trained, evaluation, decision, FACTS, None, issues)
    return lambda: report.write_report(replace(shown), workspace, refresh=True)


def measure(workspace: Workspace, classes: int, images: int, name: str, top: int) -> dict[str, float]:
    """One stage in this process."""
    work = stage(outputs(workspace, classes, images), name)
    profiler = cProfile.Profile(time.process_time)
    memory = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew
    start = time.process_time()
    done = profiler.runcall(work) if top else work()
    cpu = time.process_time() - start
    if top:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(top)
    page = done.directory / report.PAGE
    size = page.stat().st_size if name == "report" else 0
    return {"cpu": cpu, "memory": peak() - memory, "page": size}


def peak() -> int:
    """Bytes; the largest resident memory since it was reset."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(found[0]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(words: list[str]) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"failed: {words}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rows(given: argparse.Namespace, folder: str) -> list[list[str]]:
    found = []
    for images in given.images:
        for classes in given.classes:
            words = ["--workspace", folder, "--classes", str(classes), "--images", str(images)]
            words += ["--profile", str(given.profile)]
            costs = [run([*words, "--stage", name]) for name in STAGES]
            cells = [
                text for cost in costs for text in (f"{cost['cpu']:.2f}", f"{cost['memory'] / 1e6:,.0f}")
            ]
            found.append([f"{classes:,}", f"{images:,}", *cells, f"{costs[-1]['page'] / 1e3:,.0f}"])
            print(f"| {' | '.join(found[-1])} |", flush=True)
    return found


def main() -> None:
    parser = evaluation_cost.parser_of_sizes(__doc__)
    parser.add_argument("--result", type=Path, help="where the table is written, as in benchmarks/results")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        size = given.classes[0], given.images[0], given.stage, given.profile
        print(json.dumps(measure(Workspace.open(given.workspace), *size)))
        return
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    with tempfile.TemporaryDirectory() as folder:
        printed = rows(given, folder)
    if given.result:
        result = {"section": "Benchmarks", "command": "python benchmarks/report_cost.py"}
        result |= {"device": pairs.device(), "n": 1, "columns": COLUMNS, "rows": printed, "figures": {}}
        result |= {"pages": {"docs/benchmarks.md": COLUMNS}}
        given.result.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
