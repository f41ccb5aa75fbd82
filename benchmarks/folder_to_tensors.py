"""Folder -> tensors: images a second and a CPU-second, against Keras and Pillow, in one run.

    python benchmarks/folder_to_tensors.py --folder FOLDER_OF_CLASS_FOLDERS
    python benchmarks/folder_to_tensors.py --photos 2000

Plumbline's time is that of a first run: look at the folder, hash every file, decode, split, write the
tensor cache with its tables, statistics and checksums; "compiled" with the optional decoder in C (small JPEG
files only), "plumbline" without it. Both must give the same bytes, or the benchmark fails. Keras is
`keras.utils.image_dataset_from_directory`, one pass over the batches, nothing kept. tf.data is written by
hand: read_file, decode_jpeg, resize, batch; "tf.data/8" lets decode_jpeg scale photos by 1/8, which the
author must know to be enough. Pillow is a loop of open, convert, resize (its antialiased bilinear). Bare
is what no such program can do without: a loop that reads each file once and has libjpeg-turbo decode it
(simplejpeg, at the DCT scale that Plumbline takes), and does nothing else; it is the bound of what there is
to gain. They run in turn, `--rounds` times; the table has medians, and the median of the ratios within a
round. Each runs in a process of its own, on files in the page cache, and counts from after its imports. Peak
memory is the process's, imports included.

The photos are made here, since photos of people can't be shipped: 4000x3000 pixels of noise whose
amplitude falls with frequency as in natural scenes (1/f, Field 1987), with hard-edged shapes on it, saved
as JPEG of quality 90 with the usual 4:2:0 colour: 2-4 MB each, as phones make them. `--distinct` of them
are made (1.5 s each) and hard-linked to the number asked for.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH = 3000, 4000
CONTENDERS = ("compiled", "plumbline", "keras", "tf.data", "bare")
PHOTO_CONTENDERS = ("plumbline", "keras", "tf.data", "tf.data/8", "bare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a folder of class folders with small images")
    parser.add_argument("--size", type=int, default=32, help="tensor size for --folder")
    parser.add_argument("--photos", type=int, default=0, help="how many photos to decode")
    parser.add_argument("--distinct", type=int, default=24, help="how many different photos to make")
    parser.add_argument("--photo-size", type=int, default=224, help="tensor size for --photos")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs")
    parser.add_argument("--pillow", action="store_true", help="Pillow, too, which is slow")
    parser.add_argument(
        "--scratch", type=Path, help="where copies and workspaces go; default: a temporary one"
    )
    parser.add_argument("--run", nargs=3, metavar=("CONTENDER", "FOLDER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        contender, folder, size = options.run
        print(json.dumps(RUNS[contender](Path(folder), int(size))))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        if options.folder:
            small_images(options, Path(scratch))
        if options.photos:
            large_photos(options, Path(scratch))


def small_images(options: argparse.Namespace, scratch: Path) -> None:
    copy, size = scratch / "images", options.size
    shutil.copytree(options.folder.resolve(), copy)
    race(f"{options.folder} at {size}x{size}", copy, size, options, CONTENDERS)
    tenth = scratch / "tenth"
    for path in sorted(copy.rglob("*.*"))[::10]:
        target = tenth / path.relative_to(copy)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    less, more = start("plumbline", tenth, size), start("plumbline", copy, size)
    print(
        f"peak memory: {less['memory']:.0f} MB for {less['images']:,} images,"
        f" {more['memory']:.0f} MB for {more['images']:,}"
    )
    grown = start("grown", copy, size)
    print(
        f"one image added to {grown['images']:,}: {grown['wall']:.2f} s wall, {grown['cpu']:.2f} s CPU;"
        f" from scratch: {more['wall']:.2f} s wall, {more['cpu']:.2f} s CPU"
    )


def large_photos(options: argparse.Namespace, scratch: Path) -> None:
    folder, count, distinct = scratch / "photos", options.photos, options.distinct
    begin = time.monotonic()
    sizes = []
    for number in range(min(count, distinct)):
        path = folder / "ab"[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(path, quality=90, subsampling="4:2:0")
        sizes.append(path.stat().st_size)
        for link in range(number + distinct, count, distinct):
            os.link(path, path.with_name(f"{link:05d}.jpg"))
    print(
        f"{len(sizes)} different photos of {WIDTH}x{HEIGHT} made in {time.monotonic() - begin:.0f} s,"
        f" {np.mean(sizes) / 1e6:.1f} MB each ({min(sizes) / 1e6:.1f}-{max(sizes) / 1e6:.1f}),"
        f" linked to {count:,}"
    )
    size = options.photo_size
    race(f"{count:,} photos at {size}x{size}", folder, size, options, PHOTO_CONTENDERS)


def photo(seed: int) -> Image.Image:
    """A picture with the spectrum and the edges of a photo."""
    rng = np.random.default_rng(seed)
    canvas = np.full((HEIGHT, WIDTH, 3), 128, np.float32)
    cell = 2048
    while cell >= 1:
        shape = (-(-HEIGHT // cell) + 1, -(-WIDTH // cell) + 1)
        grey = rng.standard_normal(shape)[..., None]
        colour = 0.3 * rng.standard_normal((*shape, 3))
        for channel in range(3):
            layer = Image.fromarray((grey + colour)[..., channel].astype(np.float32))
            grown = layer.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            canvas[..., channel] += np.asarray(grown) * (3.0 * cell**0.4)
        cell //= 4
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(60):
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        corners = [(x + int(dx), y + int(dy)) for dx, dy in rng.integers(-500, 500, (5, 2))]
        draw.polygon(corners, fill=(*(int(value) for value in rng.integers(0, 256, 3)), 90))
    return image


def race(
    title: str, folder: Path, size: int, options: argparse.Namespace, contenders: tuple[str, ...]
) -> None:
    print(f"\n{title}, medians of {options.rounds} rounds in turn", flush=True)
    names = (*contenders, "pillow") if options.pillow else contenders
    rounds = [{name: start(name, folder, size) for name in names} for _ in range(options.rounds)]
    digests = {done[name]["digest"] for done in rounds for name in names if "digest" in done[name]}
    if len(digests) != 1:
        sys.exit(f"the tensors differ: {digests}")
    for name in names:
        results = [done[name] for done in rounds]
        print(
            f"  {name:<10}{middle(result['images'] / result['cpu'] for result in results):8,.0f} images/CPU-s"
            f" {middle(result['images'] / result['wall'] for result in results):8,.0f} images/s"
            f" {middle(result['memory'] for result in results):6.0f} MB"
            f"   of Keras: {versus_keras(rounds, name, 'cpu')} a CPU-s,"
            f" {versus_keras(rounds, name, 'wall')} by the clock",
            flush=True,
        )


def versus_keras(rounds: list[dict[str, dict[str, Any]]], name: str, measure: str) -> str:
    ratios = sorted(done["keras"][measure] / done[name][measure] for done in rounds)
    return f"{middle(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def middle(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def start(contender: str, folder: Path, size: int) -> dict[str, Any]:
    """Run a contender in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment["PYTHONPATH"] = str(ROOT)
    if contender == "plumbline":
        environment["PLUMBLINE_DECODER"] = "off"
    command = [sys.executable, __file__, "--run", contender, str(folder), str(size)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(work: Callable[[], int]) -> dict[str, Any]:
    wall, cpu = time.monotonic(), cpu_seconds()
    images = work()
    wall, cpu = time.monotonic() - wall, cpu_seconds() - cpu
    return {"images": images, "wall": wall, "cpu": cpu, "memory": peak_memory()}


def peak_memory() -> float:
    """Megabytes. (`ru_maxrss` of a child is at least its parent's size when it was started.)"""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def plumbline(folder: Path, size: int) -> dict[str, Any]:
    run = prepared(folder, size)
    result = measured(run)
    written = sorted(folder.parent.glob("*/tensors/*/*.npy"))
    contents = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in written)
    for workspace in {path.parents[2] for path in written}:
        shutil.rmtree(workspace)
    return {**result, "digest": hashlib.sha256(contents).hexdigest()[:16]}


def compiled(folder: Path, size: int) -> dict[str, Any]:
    from tasks.core.data.block_decoder import library

    if library.load() is None:
        sys.exit("there is no compiled decoder: install with a C compiler and libjpeg-turbo's headers")
    return plumbline(folder, size)


def grown(folder: Path, size: int) -> dict[str, Any]:
    """A run from scratch, then an image added, then the run that is measured."""
    run = prepared(folder, size)
    run()
    first = min(path for path in folder.rglob("*.*") if path.is_file())
    added = first.with_name("added.png")
    Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(added)
    try:
        return measured(run)
    finally:
        added.unlink()


def prepared(folder: Path, size: int) -> Callable[[], int]:
    import pandas  # noqa: F401 - pyarrow imports it at its first array

    from tasks.core.config import NormalizeSettings, SourceSettings
    from tasks.core.data.sources import acquire
    from tasks.core.data.tensors import normalize
    from tasks.core.workspace import Workspace

    workspace = Workspace.open(tempfile.mkdtemp(dir=folder.parent))
    settings = NormalizeSettings(image_size=size, val_fraction=0.3)

    def run() -> int:
        handle = acquire.acquire(SourceSettings(str(folder)), workspace)
        cache = normalize.normalize(handle, settings, workspace)
        return cache.train + cache.val + cache.test

    return run


def keras(folder: Path, size: int) -> dict[str, Any]:
    import keras

    def run() -> int:
        dataset = keras.utils.image_dataset_from_directory(
            folder,
            image_size=(size, size),
            batch_size=256 if size <= 64 else 32,
            shuffle=False,
            verbose=False,
        )
        return sum(len(labels) for _, labels in dataset)

    return measured(run)


def tf_data(ratio: int) -> Callable[[Path, int], dict[str, Any]]:
    """Hand-written tf.data; `ratio` is that of decode_jpeg."""

    def contender(folder: Path, size: int) -> dict[str, Any]:
        import tensorflow as tf

        def load(path: Any) -> Any:
            image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, ratio=ratio)
            return tf.cast(tf.image.resize(image, (size, size)), tf.uint8)

        def run() -> int:
            paths = sorted(entry.path for entry in files_below(folder))
            dataset = tf.data.Dataset.from_tensor_slices(paths).map(load, tf.data.AUTOTUNE)
            return sum(len(images) for images in dataset.batch(256 if size <= 64 else 32).prefetch(2))

        return measured(run)

    return contender


def pillow(folder: Path, size: int) -> dict[str, Any]:
    def run() -> int:
        paths = sorted(path for path in folder.rglob("*.*") if path.is_file())
        images = np.empty((len(paths), size, size, 3), np.uint8)
        for number, path in enumerate(paths):
            with Image.open(path) as image:
                images[number] = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        return len(images)

    return measured(run)


def bare(folder: Path, size: int) -> dict[str, Any]:
    import simplejpeg

    from tasks.core.data.decode import OVERSAMPLE, REDUCTION
    from tasks.core.data.files.file_hashes import read_file

    least = int(size * OVERSAMPLE)

    def run() -> int:
        images = 0
        for entry in files_below(folder):
            content = read_file(entry.path, entry.stat().st_size)
            simplejpeg.decode_jpeg(content, "RGB", False, False, least, least, REDUCTION)
            images += 1
        return images

    return measured(run)


def files_below(folder: Path | str) -> Iterator["os.DirEntry[str]"]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from files_below(entry.path)
        else:
            yield entry


RUNS = {
    **{"plumbline": plumbline, "compiled": compiled, "grown": grown, "keras": keras, "pillow": pillow},
    **{"tf.data": tf_data(1), "tf.data/8": tf_data(8), "bare": bare},
}

if __name__ == "__main__":
    main()
