"""What the search for duplicates costs by the number of images, and how many close pairs it finds.

python benchmarks/audit_speed.py --dataset FOLDER [--images 10000 60000 240000] [--result FILE]

Up to all images of the dataset are drawn from it at random. More are made by quarter turns: an image and its
turns are no near duplicates to the audit, apart from pictures without an up and a down. They have the pixels
of real images. So 240,000 are the 60,000 of CIFAR-10 and three turns of each.

CPU-seconds, wall and memory are those of `duplicates.find` in a process of its own, after the imports;
memory is its peak less what the process had before. "Of these found" is the share that `neighbours.within`
finds of the pairs that an exact search finds (products of blocks of all coordinates, in float32), within the
radius that `within` ends with. Above `--exact` images, the exact search is of 2,000 random ones with all
others. With `--against PATH`, the cost is compared with that of another working tree of the repository.
"""

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, os.environ.get("PLUMBLINE_BENCHMARK_TREE", str(HERE)))

import numpy as np  # noqa: E402 the line above decides which tree's tasks are imported
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from tasks.core.config import NormalizeSettings, SourceSettings  # noqa: E402
from tasks.core.data.audit import duplicates  # noqa: E402
from tasks.core.data.audit.image_set import ImageSet, ImageSubset  # noqa: E402
from tasks.core.data.audit.near_duplicates import neighbours  # noqa: E402
from tasks.core.data.audit.near_duplicates.distance import SAMPLE, LearnedDistance  # noqa: E402
from tasks.core.data.sources import acquire  # noqa: E402
from tasks.core.data.tensors import normalize  # noqa: E402
from tasks.core.stage import publish  # noqa: E402
from tasks.core.stage.handles import TensorCache  # noqa: E402
from tasks.core.stage.ingredients import Ingredients  # noqa: E402
from tasks.core.workspace import Workspace  # noqa: E402

SHARES = (0.72, 0.8)  # where val and test begin
SAMPLED = 2000  # images of an exact search among many
ROWS = 500  # of them at a time
COLUMNS = ["images", "CPU-seconds", "wall, s", "memory, MB", "pairs"]
COLUMNS += ["close pairs compared", "of these found"]
DEVICE = "2 shared CPU cores (AMD EPYC with AVX512_BF16), no GPU, TensorFlow 2.21"


def source_images(given: argparse.Namespace, workspace: Workspace) -> TensorCache:
    """All images of the dataset as tensors."""
    settings = SourceSettings(given.dataset, given.archive, given.archive_sha256)
    return normalize.normalize(acquire.acquire(settings, workspace), NormalizeSettings(), workspace)


def subset(cache: TensorCache, workspace: Workspace, count: int) -> TensorCache:
    """Tensors of `count` images; if there are not so many, quarter turns of them are added."""
    splits = ImageSet.of(cache).splits
    images = np.concatenate([split.images for split in splits])
    images = images[np.random.default_rng(0).permutation(len(images))]
    turns = -(-count // len(images))
    images = np.concatenate([np.rot90(images, turn, (1, 2)) for turn in range(turns)])[:count]
    ends = [round(share * count) for share in SHARES]
    parts = dict(zip(("train", "val", "test"), np.split(images, ends), strict=True))

    def build(staging: Path) -> dict[str, Any]:
        for name, part in parts.items():
            np.save(staging / f"{name}.images.npy", part)
            np.save(staging / f"{name}.labels.npy", np.zeros(len(part), np.int32))
        columns = {
            "split": [name for name, part in parts.items() for _ in part],
            "row": [row for part in parts.values() for row in range(len(part))],
            "image_id": [str(number) for number in range(count)],
            "height": [cache.shape[0]] * count,
            "width": [cache.shape[1]] * count,
        }
        pq.write_table(pa.table(columns), staging / "rows.parquet")
        return {}

    made_of = Ingredients("normalize", {"tensors": cache.digest}, {"images": count})
    directory = workspace.root / "tensors" / made_of.digest
    publish.publish(directory, made_of, build)
    sizes = {name: len(part) for name, part in parts.items()}
    place = {"path": workspace.relative(directory), "digest": made_of.digest}
    return TensorCache(**cache.as_dict() | place | sizes)


def measure(tensors: TensorCache, top: int) -> dict[str, float]:
    """The search in this process."""
    import sklearn.cluster  # noqa: F401

    profiler = cProfile.Profile()
    memory = _memory("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    if top:
        profiler.enable()
    found = duplicates.find(tensors)
    costs = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    if top:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(top)
    return costs | {"memory": _memory("VmHWM") - memory, "pairs": len(found.a)}


def _memory(name: str) -> int:
    """Bytes of this process. The peak of `getrusage` is no less than that of the process which started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def recall(tensors: TensorCache, exact: int) -> dict[str, float]:
    """How many of the close pairs of an exact search `within` finds, in this process."""
    image_set = ImageSet.of(tensors)
    numbers = np.arange(image_set.starts[-1])
    learned = LearnedDistance.learn(ImageSubset(image_set, numbers[:SAMPLE], *tensors.shape[:2]))
    coordinates = duplicates.project_images(image_set, numbers, learned)
    most = duplicates.MOST_CLOSE
    close = neighbours.within(coordinates, duplicates.REACH * learned.radius, most=most)
    # The last pairs of the list may differ by rounding between two ways to compute a distance.
    radius = float(close.distance[-1]) * (1 - 1e-4)
    count = len(numbers)
    rows = numbers if count <= exact else np.sort(np.random.default_rng(1).permutation(count)[:SAMPLED])
    even, odd = coordinates.even, coordinates.odd
    norms = np.square(even).sum(1) + np.square(odd).sum(1)
    wanted = [
        _exact(even, odd, norms, rows[start : start + ROWS], radius) for start in range(0, len(rows), ROWS)
    ]
    keys = np.unique(np.concatenate(wanted))
    found = np.isin(keys, close.a * count + close.b)
    return {"compared": len(keys), "found": float(found.mean())}


def _exact(
    even: NDArray[np.float32],
    odd: NDArray[np.float32],
    norms: NDArray[np.float32],
    rows: NDArray[np.int64],
    radius: float,
) -> NDArray[np.int64]:
    """Keys a * N + b, a < b, of the pairs of `rows` and all images within the radius."""
    products = even[rows] @ even.T + np.abs(odd[rows] @ odd.T)
    distances = norms[rows, None] + norms - 2 * products
    distances[np.arange(len(rows)), rows] = np.inf
    place, other = np.nonzero(distances <= radius**2)
    one = rows[place]
    return np.minimum(one, other) * len(norms) + np.maximum(one, other)


def run(tree: Path, words: list[str]) -> dict[str, float]:
    """One measurement in a process of its own, with the code of `tree`."""
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env=os.environ | {"PLUMBLINE_BENCHMARK_TREE": str(tree)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the measurement of {tree} failed: see above")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rows_of(given: argparse.Namespace, workspace: Workspace) -> tuple[list[list[str]], dict[str, str]]:
    """Measure each size and print its line. Returns the cells, and figures of the other working tree."""
    cache, rows, before = source_images(given, workspace), [], {}
    for count in given.images:
        fields = json.dumps(subset(cache, workspace, count).as_dict())
        words = ["--workspace", str(workspace.root), "--profile", str(given.profile)]
        cost = run(HERE, ["--one", fields, *words])
        found = run(HERE, ["--recall", fields, *words, "--exact", str(given.exact)])
        checked = [f"{found['compared']:,}", f"{found['found']:.2%}"]
        rows.append([f"{count:,}", *_cells(cost), *checked])
        print(f"| {' | '.join(rows[-1])} |", flush=True)
        if given.against:
            cells = _cells(run(given.against.resolve(), ["--one", fields, *words]))
            before[f"before, {count:,} images: CPU-seconds, wall, MB, pairs"] = "; ".join(cells)
            print(f"| before | {' | '.join(cells)} |", flush=True)
    return rows, before


def _cells(cost: dict[str, float]) -> list[str]:
    memory, pairs = f"{cost['memory'] / 1e6:,.0f}", f"{cost['pairs']:,}"
    return [f"{cost['cpu']:.1f}", f"{cost['wall']:.1f}", memory, pairs]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--archive-sha256")
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 60_000, 240_000])
    parser.add_argument("--exact", type=int, default=60_000, help="most images whose pairs are all compared")
    parser.add_argument("--against", type=Path, help="another working tree")
    parser.add_argument("--profile", type=int, default=0, help="how many functions to print")
    parser.add_argument("--result", type=Path, help="where the table is written, as in benchmarks/results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--recall", help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one or given.recall:
        Workspace.open(given.workspace)
        tensors = TensorCache(**_fields(given.one or given.recall))
        print(json.dumps(measure(tensors, given.profile) if given.one else recall(tensors, given.exact)))
        return
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    with tempfile.TemporaryDirectory() as folder:
        rows, before = rows_of(given, Workspace.open(folder))
    if given.result:
        result = {"section": "Benchmarks", "command": "python benchmarks/audit_speed.py --dataset FOLDER"}
        result |= {"device": DEVICE, "n": 1, "columns": COLUMNS, "rows": rows, "figures": before, "pages": {}}
        given.result.write_text(json.dumps(result, indent=1) + "\n")


def _fields(text: str) -> dict[str, Any]:
    """The fields of a handle, with tuples instead of JSON's lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()
    }


if __name__ == "__main__":
    main()
