"""Accuracy and cost of each recipe, beside the textbook script run in the same benchmark.

python benchmarks/training.py [--quick] [--dataset cifar10 | FOLDER] [--archive FILE] [--tensors DIR]

Every training has a process of its own. CPU-seconds are of all threads, from the tensor cache on disk to
the test predictions: reading, whitening, tracing, training, validating, publishing, loading the published
model, predicting. What importing TensorFlow and the rest costs stands beside them.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import NormalizeSettings, Precision, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.errors import PlumblineError
from tasks.core.model.devices import gpu
from tasks.core.operations import environment
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

TEXTBOOK = "textbook script"
# What the script runs in: it has not asked for our settings, such as deterministic kernels.
GIVEN = dict(os.environ)
QUICK = ["flash", "fast"]
USUAL = ["textbook", "flash", "fast", "good"]
LABELS = {TEXTBOOK: f"{TEXTBOOK} (`model.fit`, batch 32, 10 epochs)", "fast": "`fast` (the default)"}


def main() -> None:
    environment.prepare()
    options = parsed()
    if options.one:
        settings = TrainSettings(RecipeName(options.one), seed=options.seed, precision=options.precision)
        print(json.dumps(one(Path(options.tensors), settings)))
        return
    cache = options.tensors or normalized(options)
    names = options.recipes or (QUICK if options.quick else USUAL)
    seeds = range(1 if options.quick else options.seeds)
    describe(cache, len(seeds))
    # Seeds outside, so that a machine that grows slower meanwhile does so for all.
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in [TEXTBOOK, *names]}
    for seed in seeds:
        for name in runs:
            runs[name].append(measured(cache, name, seed, options.precision))
            print(f"  {name}, seed {seed}: {runs[name][-1]}", file=sys.stderr, flush=True)
    table(runs)
    if options.result:
        keep(runs, options.result)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed of the two small recipes")
    parser.add_argument("--dataset", default="cifar10", help="a known dataset or a folder of images")
    parser.add_argument("--archive", type=Path, help="the dataset's archive, if it is on this disk")
    parser.add_argument("--archive-sha256", help="of an archive that is not the official one")
    parser.add_argument("--tensors", help="a finished tensor cache instead: workspace/tensors/<digest>")
    parser.add_argument("--recipes", nargs="+", help=f"default: {' '.join(USUAL)}; with --quick {QUICK}")
    parser.add_argument(
        "--precision", type=Precision, default=Precision.auto, choices=Precision, help="of the recipes"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each recipe")
    parser.add_argument("--workspace", help="where the tensor cache is made")
    parser.add_argument("--result", type=Path, help="benchmarks/results/FILE.json, whose rows are replaced")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def normalized(options: argparse.Namespace) -> str:
    """The dataset's tensor cache, made if it is not there."""
    workspace = Workspace.open(options.workspace)
    source = SourceSettings(options.dataset, options.archive, options.archive_sha256)
    cache = normalize.normalize(acquire.acquire(source, workspace), NormalizeSettings(), workspace)
    return str(cache.directory)


def describe(cache: str, seeds: int) -> None:
    facts = manifests.read(Path(cache))["facts"]
    splits = ", ".join(f"{facts[split]:,} {split}" for split in ("train", "val", "test"))
    print(f"{facts['dataset']}: {splits} images of {'x'.join(map(str, facts['shape']))}")
    graphics = f", {gpu.nvidia_gpu_count()} GPU(s)" if gpu.nvidia_gpu_count() else ""
    print(f"{os.cpu_count()} cores, {processor()}{graphics}, load average {os.getloadavg()[0]:.1f}")
    print(f"TensorFlow {version('tensorflow')}, Keras {version('keras')}")
    print(f"seeds 0..{seeds - 1} (n={seeds}), one after the other", flush=True)


def processor() -> str:
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if Path("/proc/cpuinfo").exists()
        else []
    )
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def measured(cache: str, name: str, seed: int, precision: Precision) -> dict[str, float]:
    """One training in a process of its own."""
    if name == TEXTBOOK:
        command = [str(Path(__file__).with_name("textbook.py")), cache, str(seed)]
    else:
        command = [__file__, "--one", name, "--tensors", cache, "--seed", str(seed)]
        command += ["--precision", precision]
    environ = GIVEN if name == TEXTBOOK else None
    done = subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}, seed {seed} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def one(directory: Path, settings: TrainSettings) -> dict[str, float]:
    """Train a recipe and predict the test images, in a workspace that is thrown away."""
    import numpy as np

    from tasks.core.data.tensors.cache import open_split
    from tasks.core.model.devices.early_import import import_tensorflow
    from tasks.core.model.inference import predictor
    from tasks.core.model.training import train

    import_tensorflow()  # imports are counted apart
    imports, wall = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cache = linked(directory, Workspace.open(folder))
        model = train.train(cache, settings, Workspace.active())
        test = open_split(cache, "test")
        loaded = predictor.load(model.directory / "model.keras")
        probabilities = np.concatenate([loaded.probabilities(part) for part in loaded.batches(test.images)])
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == test.labels)),
        "val_accuracy": model.val_accuracy,
        "imports": imports,
        "cpu": time.process_time() - imports,
        "wall": time.perf_counter() - wall,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def linked(directory: Path, workspace: Workspace) -> TensorCache:
    """The tensor cache as part of another workspace."""
    manifest: dict[str, Any] = manifests.read(directory)
    (workspace.root / "tensors").mkdir(parents=True)
    (workspace.root / "tensors" / directory.name).symlink_to(directory.resolve())
    facts = {
        name: tuple(value) if isinstance(value, list) else value for name, value in manifest["facts"].items()
    }
    known = {field.name: facts[field.name] for field in fields(TensorCache) if field.name in facts}
    return TensorCache(path=f"tensors/{directory.name}", digest=manifest["digest"], **known)


def table(runs: dict[str, list[dict[str, float]]]) -> None:
    rival = median(run["cpu"] for run in runs[TEXTBOOK])
    print("\n| recipe | test accuracy | n | CPU-seconds | textbook's / its | imports | wall | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    for name, results in runs.items():
        accuracies = [100 * run["accuracy"] for run in results]
        spread = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        cpu, imports, wall, peak = (
            median(run[key] for run in results) for key in ("cpu", "imports", "wall", "peak")
        )
        print(
            f"| {name} | {mean(accuracies):.2f}{spread} % | {len(results)} | {cpu:.1f} | {rival / cpu:.2f} "
            f"| {imports:.1f} | {wall:.0f} s | {peak:,.0f} MB |"
        )
    print("\nCPU-seconds, imports, wall and peak memory: medians. Accuracy: mean and deviation over seeds.")


def keep(runs: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Write the rows that README and docs/benchmarks.md quote; `tests/docs/generate.py` puts them there."""
    result = json.loads(path.read_text(encoding="utf-8"))
    rival, rows = median(run["cpu"] for run in runs[TEXTBOOK]), []
    for name, results in runs.items():
        accuracies = [100 * run["accuracy"] for run in results]
        spread = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        cpu, wall, peak = (median(run[key] for run in results) for key in ("cpu", "wall", "peak"))
        cells = [f"{mean(accuracies):.2f}{spread} %", f"{cpu:.1f}", f"{rival / cpu:.2f}", f"{wall:.0f} s"]
        rows.append([LABELS.get(name, f"`{name}`"), *cells, f"{peak:,.0f} MB"])
    device = f"{os.cpu_count()} cores, {processor()}, TensorFlow {version('tensorflow')}"
    result |= {"device": device, "n": len(runs[TEXTBOOK]), "rows": rows}
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except PlumblineError as error:
        raise SystemExit(str(error)) from None
