"""What each stage costs for each image, on folders of several sizes, and what 100 million would cost.

python benchmarks/scale.py --folder photos/train [--sizes 10000 20000 40000] [--images 100000000]

Takes subsets of a folder of classes (hard links, else copies), runs every stage on each in a process of its
own, and fits straight lines: CPU-seconds and memory for each image, apart from what a stage costs however
few they are. The comparison of all pairs within the audit is measured by itself and fitted to the number of
pairs. Prints the measurements, the constants, and their product with --images. docs/scale.md says what to
make of it.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import NormalizeSettings, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.audit import audit, duplicates
from tasks.core.data.audit.image_set import ImageSet, ImageSubset
from tasks.core.data.audit.near_duplicates import neighbours
from tasks.core.data.audit.near_duplicates.distance import SAMPLE, LearnedDistance
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.evaluation import evaluate, label_issues
from tasks.core.model.inference import predict_splits
from tasks.core.model.training import train
from tasks.core.operations import environment
from tasks.core.runs import record, tables
from tasks.core.stage import handles
from tasks.core.workspace import Workspace

TRAIN = TrainSettings(recipe=RecipeName.flash, epochs=1)
Made = dict[str, Any]  # handles by stage, as JSON


class Clock:
    """CPU-seconds, seconds and memory of a block: how far its peak lies above where it began."""

    def __enter__(self) -> "Clock":
        self._memory = resident()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cost = {
            "cpu": time.process_time() - self._cpu,
            "wall": time.perf_counter() - self._wall,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self._memory,
        }


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def restored(kind: type, made: Made, stage: str) -> Any:
    values = {field.name: made[stage][field.name] for field in fields(kind)}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def listed(place: Workspace, folder: str, _: Made) -> Any:
    return acquire.acquire(SourceSettings(dataset=folder), place)


def normalized(place: Workspace, folder: str, made: Made) -> Any:
    found = restored(handles.RawDataset, made, "list, hash")
    return normalize.normalize(found, NormalizeSettings(), place)


def cache(made: Made) -> handles.TensorCache:
    return restored(handles.TensorCache, made, "normalize")


def evaluated(place: Workspace, _: str, made: Made) -> Any:
    return evaluate.evaluate(restored(handles.Predictions, made, "predict"), cache(made), place)


def suspected(place: Workspace, _: str, made: Made) -> Any:
    return label_issues.find_label_issues(
        restored(handles.Evaluation, made, "evaluate"), cache(made), None, place
    )


def recorded(place: Workspace, _: str, made: Made) -> None:
    found = restored(handles.Evaluation, made, "evaluate")
    frame = record.predictions(found, cache(made)).assign(version="v0001", evaluation=found.digest)
    tables.append("predictions", "scale", "run", frame, place)


def predicted(place: Workspace, _: str, made: Made) -> Any:
    trained = restored(handles.TrainedModel, made, "train, 1 epoch")
    return predict_splits.predict_splits(trained, cache(made), place)


STAGES: dict[str, Callable[[Workspace, str, Made], Any]] = {
    "list, hash": listed,
    "look again": listed,
    "normalize": normalized,
    "audit": lambda place, _, made: audit.audit(cache(made), place),
    "audit: pairs": lambda *_: None,  # see `pairs`
    "train, 1 epoch": lambda place, _, made: train.train(cache(made), TRAIN, place),
    "predict": predicted,
    "evaluate": evaluated,
    "suspect": suspected,
    "record": recorded,
}
ALL = (
    "list, hash",
    "look again",
    "normalize",
    "audit",
    "audit: pairs",
)  # others: train, or val and test only


def pairs(made: Made) -> Clock:
    """The comparison of all pictures with each other, by itself."""
    gallery = ImageSet.of(cache(made))
    every = np.arange(sum(gallery.sizes))
    likeness = LearnedDistance.learn(
        ImageSubset(gallery, every[:SAMPLE], *gallery.splits[0].images.shape[1:3])
    )
    places = duplicates.project_images(gallery, every, likeness)
    with Clock() as clock:
        neighbours.within(places, likeness.radius)
    return clock


def measure(stage: str, place: Workspace, folder: str, made: Made) -> dict[str, Any]:
    """One stage in this process."""
    if stage == "audit: pairs":
        return {"cost": pairs(made).cost, "made": None, "bytes": 0}
    if stage in ("train, 1 epoch", "predict"):
        import tensorflow as tf

        tf.constant(0)
    with Clock() as clock:
        handle = STAGES[stage](place, folder, made)
    directory = getattr(handle, "directory", place.metrics if stage == "record" else None)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if directory else 0
    return {"cost": clock.cost, "made": asdict(handle) if handle else None, "bytes": size}


def subset(source: Path, target: Path, count: int) -> None:
    """The first images of each class, `count` in all."""
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    for kind in classes:
        (target / kind.name).mkdir(parents=True)
        for path in sorted(kind.iterdir())[: count // len(classes)]:
            try:
                os.link(path, target / kind.name / path.name)
            except OSError:
                shutil.copy2(path, target / kind.name / path.name)


def run(source: Path, count: int) -> dict[str, dict[str, Any]]:
    """Every stage on `count` images, each in a new process: cost, bytes written, images that it concerns."""
    with tempfile.TemporaryDirectory(prefix="plumbline-scale-", dir=source.parent) as scratch:
        folder, place = Path(scratch) / "scale", Path(scratch) / "workspace"
        subset(source, folder, count)
        made: Made = {}
        found = {}
        for stage in STAGES:
            words = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
            done = subprocess.run(
                [*words, "--workspace", str(place)],
                input=json.dumps(made),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            found[stage] = json.loads(done.stdout.splitlines()[-1])
            made[stage] = found[stage]["made"]
            cost = found[stage]["cost"]
            said = f"{cost['cpu']:8.2f} CPU-s {cost['wall']:8.2f} s {cost['memory'] / 1e6:8.1f} MB"
            print(f"  {count:>7,} {stage:<15} {said}", flush=True)
        splits = made["normalize"]
        for stage in STAGES:
            scored = splits["val"] + splits["test"]
            found[stage]["images"] = (
                count if stage in ALL else scored if "train" not in stage else splits["train"]
            )
        return found


def constants(runs: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """By stage: CPU-seconds and memory for each image (of the pairs, for each pair), bytes on disk."""
    found = {}
    for stage in STAGES:
        images = np.array([one[stage]["images"] for one in runs], float)
        cpu, memory = (np.array([one[stage]["cost"][name] for one in runs]) for name in ("cpu", "memory"))
        units = images * (images - 1) / 2 if stage == "audit: pairs" else images
        if stage == "audit":
            cpu = cpu - [one["audit: pairs"]["cost"]["cpu"] for one in runs]
        slope, fixed = np.polyfit(units, cpu, 1)
        found[stage] = {
            "share": images[-1] / runs[-1]["list, hash"]["images"],
            "cpu": slope,
            "fixed": fixed,
            "memory": max(np.polyfit(images, memory, 1)[0], 0.0),
            "bytes": runs[-1][stage]["bytes"] / images[-1],
        }
    return found


def show(found: dict[str, dict[str, float]], images: float) -> None:
    print("\n| stage | of the images | CPU-us an image | fixed CPU-s | bytes of memory | bytes on disk |")
    print("|---|---|---|---|---|---|")
    for stage, one in found.items():
        unit = f"{1e9 * one['cpu']:.2f} ns a pair" if "pairs" in stage else f"{1e6 * one['cpu']:,.0f}"
        print(
            f"| {stage} | {one['share']:.0%} | {unit} | {one['fixed']:.1f} | {one['memory']:,.0f} "
            f"| {one['bytes']:,.0f} |"
        )
    print(f"\n| stage | CPU-hours for {images:,.0f} images | memory, GB | disk, GB |\n|---|---|---|---|")
    for stage, one in found.items():
        concerned = images * one["share"]
        units = concerned * (concerned - 1) / 2 if "pairs" in stage else concerned
        print(
            f"| {stage} | {one['cpu'] * units / 3600:,.1f} | {one['memory'] * concerned / 1e9:,.1f} "
            f"| {one['bytes'] * concerned / 1e9:,.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="a folder of <class>/<image>")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 20_000, 40_000])
    parser.add_argument("--images", type=float, default=1e8)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage:
        environment.prepare()
        place = Workspace.open(asked.workspace)
        print(json.dumps(measure(asked.stage, place, str(asked.folder), json.load(sys.stdin))))
        return
    show(constants([run(asked.folder, size) for size in asked.sizes]), asked.images)


if __name__ == "__main__":
    main()
