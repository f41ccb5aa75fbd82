"""Training on tensors three times larger than the memory, beside the same with all of them in memory.

python benchmarks/larger_than_memory.py [--limit-mb 700] [--seconds 120] [--rounds 2]

Three trainings of the same net, each in a process of its own: all images in memory and no limit; mapped, in
windows, as Plumbline trains; and mapped, but shuffled as a whole, which is what a plain memory map gives. The
latter two run in a memory cgroup, which counts the pages of files too, and begin with nothing of the file in
the system's cache. That takes the right to make a cgroup: root, or
`systemd-run --user --pipe --property=Delegate=yes`. `ulimit -v` doesn't serve: TensorFlow reserves many
gigabytes of addresses that it never uses, and a map takes addresses but no memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core import recipes
from tasks.core.config import RecipeName
from tasks.core.data.tensors.cache import Split
from tasks.core.data.tensors.npy_writer import RowFile

SHAPE = (32, 32, 3)
CLASSES = 10
CHUNK = 10_000  # images
STEPS = 4  # in a call of the compiled function
WARM = 4  # such calls before the clock starts: tracing, first allocations
WAYS = {"in memory": (False, True), "windows": (True, True), "whole shuffle": (True, False)}


def write(path: Path, count: int) -> None:
    """Random pixels: their content changes neither the cost of a step nor that of reading."""
    rows = RowFile(path, count, SHAPE)
    generator = np.random.default_rng(0)
    for start in range(0, count, CHUNK):
        rows.write(start, generator.integers(0, 256, (min(CHUNK, count - start), *SHAPE), np.uint8))
    rows.close()
    forget(path)


def forget(path: Path) -> None:
    """Take a file out of the system's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


class MemoryLimit:
    """A memory cgroup, of version 2 or 1, for the calling process."""

    def __init__(self, megabytes: int) -> None:
        root = Path("/sys/fs/cgroup")
        self.version = 2 if (root / "cgroup.controllers").exists() else 1
        self.folder = (root if self.version == 2 else root / "memory") / f"plumbline-{os.getpid()}"
        self.folder.mkdir()
        limit = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        (self.folder / limit).write_text(str(megabytes << 20))
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self) -> int:
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        return int((self.folder / name).read_text())


def train(path: Path, way: str, limit_mb: int, seconds: float) -> dict[str, Any]:
    """Train in this process; images per second, CPU-seconds, and what memory it took."""
    limited, in_windows = WAYS[way]
    limit = MemoryLimit(limit_mb) if limited else None
    from tasks.core.model.training.steps import StepPlan
    from tasks.core.model.training.trainer import Trainer

    images: NDArray[np.uint8] = np.load(path, mmap_mode="r" if limited else None)
    labels = np.random.default_rng(1).integers(0, CLASSES, len(images)).astype(np.int32)
    recipe = replace(recipes.RECIPES[RecipeName.flash], batch_size=256, epochs=1)
    plan = StepPlan.of(recipe, 0, len(images), int(np.prod(SHAPE)))
    if not in_windows:
        plan = replace(plan, shuffle=replace(plan.shuffle, full_shuffle_bytes=images.nbytes))
    trainer = Trainer(plan, Split(images, labels), Split(images[:512], labels[:512]), CLASSES)
    for _ in range(WARM):
        trainer.run(plan.window(trainer.step, STEPS))
    began, cpu, first = time.perf_counter(), time.process_time(), trainer.step
    while not trainer.done and time.perf_counter() - began < seconds:
        trainer.run(plan.window(trainer.step, STEPS))
    count = (trainer.step - first) * recipe.batch_size
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    )
    return {
        "way": way,
        "images": count,
        "images_per_second": count / (time.perf_counter() - began),
        "images_per_cpu_second": count / (time.process_time() - cpu),
        "own_memory_mb": int(status["RssAnon"].split()[0]) * 1024 / 1e6,
        "cgroup_peak_mb": limit.peak() / 1e6 if limit else None,
    }


def child(path: Path, way: str, given: argparse.Namespace) -> dict[str, Any]:
    forget(path)
    command = [sys.executable, __file__, "--way", way, "--file", str(path)]
    command += ["--limit-mb", str(given.limit_mb), "--seconds", str(given.seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    for folder in Path("/sys/fs/cgroup").glob("**/plumbline-*/"):
        folder.rmdir()
    if done.returncode:
        return {"way": way, "died": -done.returncode}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--limit-mb", type=int, default=700, help="memory limit; the tensors are three times it"
    )
    parser.add_argument("--seconds", type=float, default=120, help="of each training")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the tensors are put; on a disk, not in memory")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(train(given.file, given.way, given.limit_mb, given.seconds)))
        return
    count = 3 * (given.limit_mb << 20) // int(np.prod(SHAPE))
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "train.images.npy"
        write(path, count)
        print(f"{count:,} images, {path.stat().st_size / 1e6:,.0f} MB; limit {given.limit_mb << 20:,} bytes")
        for _ in range(given.rounds):
            show([child(path, way, given) for way in WAYS])


def show(results: list[dict[str, Any]]) -> None:
    base = results[0]["images_per_second"]
    for result in results:
        if "died" in result:
            print(f"{result['way']:14} killed by signal {result['died']}")
            continue
        rate, peak = result["images_per_second"], result["cgroup_peak_mb"]
        cgroup = f", cgroup at most {peak:,.0f} MB" if peak else ""
        print(
            f"{result['way']:14} {rate:7,.0f} img/s ({rate / base:.2f} of in memory), "
            f"{result['images_per_cpu_second']:7,.0f} img/CPU-s, {result['images']:,} images, "
            f"own memory {result['own_memory_mb']:,.0f} MB{cgroup}",
            flush=True,
        )


if __name__ == "__main__":
    main()
