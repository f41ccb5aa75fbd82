"""Batch prediction at scale: images per second from parquet and from a folder, memory, kills.

python benchmarks/predict_scale.py --folder cifar10/test --workspace workspace --dataset cifar10
    [--images 200000] [--kills 4] [--only-kills] [--precision auto | float32 | bfloat16]

The images of a folder are repeated into parquet shards and into a folder of hard links. Each measurement is
a process of its own. The rival is `keras.Model.predict` on an array of the same images, decoded, in memory:
with Keras' own batch size and with ours, the faster counts. Its clock starts after the model is loaded and
has worked once; ours starts there, too, and covers listing, reading, decoding, predicting, writing, comparing
with the profile, and loading the model again. Kills are SIGKILL at random moments, each followed by a
restart; then every row is accounted for, and the parts are held against those of an undisturbed run.

Rates are measured in float32, and in bfloat16 where the model's certificate allows it. The difference of the
answers of both is printed. The killed runs calculate in `--precision`.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import Precision
from tasks.core.data import file_types
from tasks.core.data.inference import inputs, prediction_table
from tasks.core.data.inference.images import image_batches
from tasks.core.data.inference.prediction_table import PredictionRequest
from tasks.core.model.devices import bfloat16_certificate
from tasks.core.model.inference import profile
from tasks.core.registry import registry
from tasks.core.reports import drift_report
from tasks.core.stage.handles import ModelVersion
from tasks.core.workspace import Workspace

SHARD = 10_000  # images
FEW = 20_000  # images of the smaller run whose memory is compared
WARM = 4  # batches before the clock starts


def shards(files: list[Path], count: int, folder: Path) -> None:
    folder.mkdir()
    for number, start in enumerate(range(0, count, SHARD)):
        some = [files[place % len(files)] for place in range(start, min(start + SHARD, count))]
        images = [{"bytes": file.read_bytes(), "path": file.name} for file in some]
        pq.write_table(pa.table({"image": images}), folder / f"{number:05}.parquet", row_group_size=1000)


def links(files: list[Path], count: int, folder: Path) -> None:
    for number in range(count):
        file = files[number % len(files)]
        place = folder / f"{number // 1000:04}"
        place.mkdir(parents=True, exist_ok=True)
        target = place / f"{number:07}{file.suffix}"
        try:
            os.link(file, target)
        except OSError:  # another file system
            shutil.copyfile(file, target)


def chosen(version: ModelVersion, asked: Precision) -> Precision:
    """What the flow would calculate in."""
    return bfloat16_certificate.choose(version.directory / profile.FOLDER, asked, proven=False)


def predict(version: ModelVersion, place: Path, out: Path, precision: Precision) -> int:
    """What the flow does, without Prefect; the number of images."""
    from tasks.core.model.inference import predict_batch

    model = (version.dataset, version.version, version.model_sha256)
    asking = PredictionRequest(*model, (str(place),), precision=str(precision))
    total = 0
    with prediction_table.locked_folder(out):
        for batch in prediction_table.pending_batches(out, asking, inputs.list_inputs(asking.inputs)):
            predict_batch.predict(batch, version)
            found = drift_report.write_drift_report(batch, version)
            batch.finish(batch.counts() | {"drift": found.record()})
            total += batch.images
    return total


def keras_predict(version: ModelVersion, place: Path, count: int) -> list[dict[str, Any]]:
    import keras

    from tasks.core.model.inference import predictor

    model = keras.models.load_model(version.directory / "model.keras")
    shape = tuple(version.manifest["facts"]["shape"])
    lines = list(inputs.list_inputs([str(place)]))
    array = np.concatenate([block.images[: len(block)] for block in image_batches(lines, 256, shape)])[:count]
    found = []
    for size in (32, predictor.batch_size(shape)):
        model.predict(array[: WARM * size], batch_size=size, verbose=0)
        found.append(
            timed(f"keras predict, batch {size}", lambda size=size: len(model.predict(array, size, 0)))
        )
    return found


def timed(name: str, work: Any) -> dict[str, Any]:
    began, cpu = time.perf_counter(), time.process_time()
    count = work()
    seconds = time.perf_counter() - began
    return {
        "name": name,
        "images": count,
        "wall": seconds,
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def case(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One measurement, in this process."""
    Workspace.open(given.workspace)
    version = registry.resolve(given.dataset, given.model, Workspace.active())
    if given.case == "keras":
        return keras_predict(version, given.place, given.images)
    precision = chosen(version, given.precision)
    if not given.cold:
        from tasks.core.model.inference import predictor

        scorer = predictor.load(version.directory / "model.keras", precision)
        shape = version.manifest["facts"]["shape"]
        scorer.score(np.zeros((WARM * scorer.size, *shape), np.uint8))
    name = f"{given.case}, {precision}"
    return [timed(name, lambda: predict(version, given.place, given.out, precision))]


def command(given: argparse.Namespace, name: str, place: Path, out: Path, *more: str) -> list[str]:
    command = [sys.executable, __file__, "--case", name, "--place", place, "--out", out, *more]
    command += ["--workspace", given.workspace, "--dataset", given.dataset, "--model", given.model]
    command += ["--precision", given.precision]
    return [*map(str, command), "--images", str(given.images)]


def child(given: argparse.Namespace, name: str, place: Path, out: Path) -> list[dict[str, Any]]:
    done = subprocess.run(command(given, name, place, out), stdout=subprocess.PIPE, text=True, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def killed(given: argparse.Namespace, place: Path, out: Path, seconds: float) -> int:
    """Runs that are killed, then one that ends; how many were killed while parts were missing."""
    chance, cut = random.Random(0), 0
    for _ in range(given.kills):
        run = subprocess.Popen(command(given, "killed", place, out, "--cold"), stdout=subprocess.DEVNULL)
        before = parts(out)
        deadline = time.monotonic() + 120
        while parts(out) <= before and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, seconds))
        run.send_signal(signal.SIGKILL)
        cut += run.wait() == -signal.SIGKILL
    subprocess.run(command(given, "killed", place, out, "--cold"), stdout=subprocess.DEVNULL, check=True)
    return cut


def parts(out: Path) -> int:
    return len(list(out.glob("batch=*/part-*.parquet")))


def account(out: Path, whole: Path, count: int) -> str:
    """Every row of a table that was killed at, against one that was not."""
    rows = pq.read_table(out, columns=["path", "row"]).to_pylist()
    seen = Counter((row["path"], row["row"]) for row in rows)
    pairs = zip(sorted(out.glob("batch=*/part-*")), sorted(whole.glob("batch=*/part-*")), strict=True)
    same = [one.read_bytes() == other.read_bytes() for one, other in pairs]
    doubled = sum(number - 1 for number in seen.values())
    return (
        f"{len(rows):,} rows of {count:,}, {count - len(seen):,} lost, {doubled:,} doubled, "
        f"{sum(same)} of {len(same)} parts the same to the byte"
    )


def show(result: dict[str, Any], base: float | None = None) -> float:
    rate = result["images"] / result["wall"]
    ratio = f" ({rate / base:.2f} of Keras)" if base else ""
    print(
        f"{result['name']:26} {result['images']:8,} images {rate:8,.0f} img/s{ratio}, "
        f"{result['images'] / result['cpu']:7,.0f} img/CPU-s, {result['cpu']:.1f} CPU-s, "
        f"peak memory {result['peak_mb']:,.0f} MB",
        flush=True,
    )
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="images to repeat")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", default="champion")
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--only-kills", action="store_true", help="leave out the rates")
    for hidden in ("--case", "--place", "--out"):
        kind = str if hidden == "--case" else Path
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--precision", type=Precision, default=Precision.auto, choices=Precision)
    parser.add_argument("--cold", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(case(given)))
        return
    with tempfile.TemporaryDirectory() as name:
        measure(given, Path(name))


def measure(given: argparse.Namespace, here: Path) -> None:
    files = sorted(path for path in given.folder.rglob("*") if file_types.claims_to_be_image(path.name))
    shards(files, given.images, here / "parquet")
    base = None if given.only_kills else rates(given, files, here)
    (ours,) = child(given, "parquet", here / "parquet", here / "out-parquet")
    show(ours, base)
    if given.kills:
        cut = killed(given, here / "parquet", here / "out-killed", ours["wall"] / given.kills / 2)
        print(f"killed {cut} times: {account(here / 'out-killed', here / 'out-parquet', given.images)}")


def rates(given: argparse.Namespace, files: list[Path], here: Path) -> float:
    """Everything but the run that is compared with those that are killed; gives Keras' rate."""
    shards(files, min(FEW, given.images), here / "few")
    links(files, given.images, here / "folder")
    base = max(show(result) for result in child(given, "keras", here / "parquet", here))
    show(*child(given, "parquet, few", here / "few", here / "out-few"))
    for precision in precisions(given):
        asked = argparse.Namespace(**vars(given) | {"precision": precision})
        show(*child(asked, "folder", here / "folder", here / f"out-folder-{precision}"), base)
    if len(precisions(given)) == 2:
        print(differences(here / "out-folder-float32", here / "out-folder-bfloat16"))
    return base


def precisions(given: argparse.Namespace) -> list[Precision]:
    Workspace.open(given.workspace)
    version = registry.resolve(given.dataset, given.model, Workspace.active())
    return sorted({Precision.float32, chosen(version, given.precision)}, reverse=True)


def differences(one: Path, other: Path) -> str:
    """How two tables of the same images differ."""
    columns = ["path", "predicted_label", "probabilities"]
    tables = [pq.read_table(out, columns=columns).sort_by("path") for out in (one, other)]
    labels = [table["predicted_label"].to_numpy() for table in tables]
    values = [np.stack(table["probabilities"].to_numpy()) for table in tables]
    difference = np.abs(values[0] - values[1])
    return (
        f"the same class in {np.mean(labels[0] == labels[1]):.2%} of {len(labels[0]):,}, "
        f"probabilities differ by {difference.mean():.4f} on average, by {difference.max():.3f} at most"
    )


if __name__ == "__main__":
    main()
