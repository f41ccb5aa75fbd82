"""What evaluating a model costs by the number of classes and images: CPU-seconds and memory.

python benchmarks/evaluation_cost.py [--classes 10 100 1000] [--images 1000 10000 100000] [--against PATH]

Invents probabilities of a model that is right in some 70 % of the test images and of half as many val images,
and runs the stage evaluate on them, each size in a process of its own. Imports are outside of the clock.
Memory is how far the peak lies above that of the imports; the probabilities are mapped, and the pages that
were read count. --groups puts the images into groups of 5 on average. --against runs the stage of another
working tree, too, on the same probabilities. --profile prints the functions that take longest.
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
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, os.environ.get("PLUMBLINE_BENCHMARK_TREE", str(HERE)))

import numpy as np  # noqa: E402 the line above decides which tree's tasks are imported
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from tasks.core.evaluation import class_curves, evaluate  # noqa: E402, F401
from tasks.core.stage import publish  # noqa: E402
from tasks.core.stage.handles import Predictions, TensorCache  # noqa: E402
from tasks.core.stage.ingredients import Ingredients  # noqa: E402
from tasks.core.workspace import Workspace  # noqa: E402

GROUP = 5  # images, on average


def probabilities(labels: NDArray[np.int32], classes: int, generator: np.random.Generator) -> Any:
    """float32 (N, C): logits of unequal sureness, the label's raised such that some 70 % are right."""
    logits = generator.standard_normal((len(labels), classes), np.float32)
    lift = np.sqrt(2 * np.log(classes)) + 0.7 + 1.5 * generator.standard_normal(len(labels), np.float32)
    logits[np.arange(len(labels)), labels] += lift
    np.exp(2 * logits, out=logits)
    return logits / logits.sum(axis=1, keepdims=True)


def invent(workspace: Workspace, classes: int, images: int, grouped: bool) -> tuple[TensorCache, Predictions]:
    """Labels without pictures, and probabilities of val and test."""
    counts = {"train": classes, "val": images // 2, "test": images}
    generator = np.random.default_rng(0)
    labels = {name: generator.integers(0, classes, n).astype(np.int32) for name, n in counts.items()}
    labels["train"] = np.arange(classes, dtype=np.int32)

    def write_tensors(staging: Path) -> dict[str, Any]:
        for name, values in labels.items():
            np.save(staging / f"{name}.labels.npy", values)
            np.save(staging / f"{name}.images.npy", np.zeros((len(values), 1, 1, 1), np.uint8))
        rows = {
            "split": [name for name, n in counts.items() for _ in range(n)],
            "row": [row for n in counts.values() for row in range(n)],
            "image_id": [f"{name}{row}" for name, n in counts.items() for row in range(n)],
        }
        if grouped:
            groups = [f"{name}{row}" for name, n in counts.items() for row in draw_groups(n, generator)]
            rows["group"] = groups
        pq.write_table(pa.table(rows), staging / "rows.parquet")
        return {}

    def write_predictions(staging: Path) -> dict[str, Any]:
        for name in ("val", "test"):
            np.save(Predictions.path_in(staging, name), probabilities(labels[name], classes, generator))
        return {}

    asked = {"classes": classes, "images": images, "grouped": grouped}
    of_tensors = Ingredients("normalize", {}, asked)
    directory = workspace.root / "tensors" / of_tensors.digest
    publish.publish(directory, of_tensors, write_tensors)
    tensors = TensorCache(
        path=workspace.relative(directory),
        digest=of_tensors.digest,
        dataset="invented",
        classes=tuple(f"class {number:04}" for number in range(classes)),
        shape=(1, 1, 1),
        quarantined=0,
        groups=(1, 1, 1) if grouped else (),
        **counts,
    )
    of_predictions = Ingredients("predict", {"tensors": tensors.digest}, asked)
    directory = workspace.root / "predictions" / of_predictions.digest
    publish.publish(directory, of_predictions, write_predictions)
    path, model = workspace.relative(directory), sha256(b"").hexdigest()
    return tensors, Predictions(path, of_predictions.digest, model_sha256=model, tensors=tensors.digest)


def draw_groups(count: int, generator: np.random.Generator) -> list[int]:
    return np.sort(generator.integers(0, max(1, count // GROUP), count)).tolist()


def measure(workspace: Workspace, classes: int, images: int, grouped: bool, top: int) -> dict[str, float]:
    """The stage in this process."""
    import sklearn.metrics  # noqa: F401

    tensors, predictions = invent(workspace, classes, images, grouped)  # in the workspace already
    profiler = cProfile.Profile()
    memory = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    start = time.process_time()
    if top:
        profiler.enable()
    evaluate.evaluate(predictions, tensors, workspace, refresh=True)
    cpu = time.process_time() - start
    if top:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(top)
    return {"cpu": cpu, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory}


def run(tree: Path, words: list[str]) -> dict[str, float]:
    """One size in a process of its own, with the code of `tree`."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", *words],
        env=os.environ | {"PLUMBLINE_BENCHMARK_TREE": str(tree)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(given: argparse.Namespace, workspace: Workspace, folder: str) -> None:
    trees = {"now": HERE} | ({"before": given.against.resolve()} if given.against else {})
    for images in given.images:
        for classes in given.classes:
            invent(workspace, classes, images, given.groups)
            words = ["--workspace", folder, "--classes", str(classes), "--images", str(images)]
            words += ["--groups"] if given.groups else []
            words += ["--profile", str(given.profile)] if given.profile else []
            costs = {name: run(tree, words) for name, tree in trees.items()}
            cells = [f"{cost['cpu']:.2f} | {cost['memory'] / 1e6:,.0f}" for cost in costs.values()]
            print(f"| {classes:,} | {images:,} | {' | '.join(cells)} |", flush=True)


def parser_of_sizes(description: str | None) -> argparse.ArgumentParser:
    """The options of a benchmark by classes and images."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--profile", type=int, default=0, help="how many functions to print")
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    parser = parser_of_sizes(__doc__)
    parser.add_argument("--groups", action="store_true")
    parser.add_argument("--against", type=Path, help="another working tree")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        size = given.classes[0], given.images[0], given.groups, given.profile
        print(json.dumps(measure(Workspace.open(given.workspace), *size)))
        return
    names = ["now", "before"] if given.against else ["now"]
    print("| classes | images | " + " | ".join(f"{name}, CPU-s | {name}, MB" for name in names) + " |")
    print("|---" * (2 + 2 * len(names)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        compare(given, Workspace.open(folder), folder)


if __name__ == "__main__":
    main()
