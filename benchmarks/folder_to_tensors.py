"""Folder -> tensors: images a second and a CPU-second, against Keras and Pillow, in one run.

    python benchmarks/folder_to_tensors.py                       # digits and photos; four minutes
    python benchmarks/folder_to_tensors.py --folder cifar10/train --photos 0 --rounds 5
    python benchmarks/folder_to_tensors.py --photos 500 --distinct 24 --result benchmarks/results/X.json

Without --folder, the small images are scikit-learn's digits, enlarged to 32x32 and linked to --images.
Plumbline's time is that of a first run: look at the folder, hash every file, decode, split, write the
tensor cache with its tables, statistics and checksums; "compiled" with the optional decoder in C, "plumbline"
without it. Both must give the same bytes, or the benchmark fails. Keras is
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
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import pairs, quick
from benchmarks.decoders import start

HEIGHT, WIDTH = 3000, 4000
CONTENDERS = ("compiled", "plumbline", "keras", "tf.data", "bare")
PHOTO_CONTENDERS = ("compiled", "plumbline", "keras", "tf.data", "tf.data/8", "bare")
Rounds = list[dict[str, dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a folder of class folders with small images")
    parser.add_argument("--images", type=int, default=6_000, help="how many digits, without --folder; or 0")
    parser.add_argument("--size", type=int, default=32, help="tensor size of the small images")
    parser.add_argument("--photos", type=int, default=24, help="how many photos to decode; or 0")
    parser.add_argument("--distinct", type=int, default=12, help="how many different photos to make")
    parser.add_argument("--photo-size", type=int, default=224, help="tensor size for --photos")
    parser.add_argument("--rounds", type=int, default=2, help="how often each runs")
    parser.add_argument("--pillow", action="store_true", help="Pillow, too, which is slow")
    parser.add_argument("--growth", action="store_true", help="memory and an added image, too")
    parser.add_argument("--result", type=Path, help="where the table is written, as in benchmarks/results")
    parser.add_argument(
        "--scratch", type=Path, help="where copies and workspaces go; default: a temporary one"
    )
    options = parser.parse_args()
    found, options.figures = {}, {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        if options.folder or options.images:
            found |= small_images(options, Path(scratch))
        if options.photos:
            found |= large_photos(options, Path(scratch))
    if options.result:
        text = json.dumps(result_of(found, options), indent=1, ensure_ascii=False)
        options.result.write_text(text + "\n", encoding="utf-8")


def small_images(options: argparse.Namespace, scratch: Path) -> dict[str, Rounds]:
    copy, size = scratch / "images", options.size
    if options.folder:
        shutil.copytree(options.folder.resolve(), copy)
        what = f"{sum(path.is_file() for path in copy.rglob('*')):,} JPEGs of {options.folder.name}"
    else:
        files = sorted(quick.small_images(scratch / "digits").rglob("*.jpg"))
        for number in range(options.images):
            quick.hard_link(
                files[number % len(files)], copy / files[number % len(files)].parent.name / f"{number:05}.jpg"
            )
        what = f"{options.images:,} JPEGs of {len(files):,} digits"
    found = race(f"{what}, {size}x{size}", copy, size, options, CONTENDERS)
    if options.growth:
        options.figures |= growth(copy, size, scratch / "tenth")
    return found


def growth(copy: Path, size: int, tenth: Path) -> dict[str, str]:
    """Memory for a tenth and for all, and the time for one image more."""
    for path in sorted(copy.rglob("*.*"))[::10]:
        target = tenth / path.relative_to(copy)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    less, more, grown = (
        start(*run, size) for run in (("plumbline", tenth), ("plumbline", copy), ("grown", copy))
    )
    figures = {
        f"peak memory, {less['images']:,} images": f"{less['memory']:.0f} MB",
        f"peak memory, {more['images']:,} images": f"{more['memory']:.0f} MB",
        "one image added": f"{grown['cpu']:.1f} CPU-seconds",
        "from scratch": f"{more['cpu']:.1f} CPU-seconds",
    }
    print("\n".join(f"{what}: {figure}" for what, figure in figures.items()))
    return figures


def large_photos(options: argparse.Namespace, scratch: Path) -> dict[str, Rounds]:
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
    what = f"{count:,} generated photos of 12 megapixels to {size}x{size}"
    return race(what, folder, size, options, PHOTO_CONTENDERS)


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
) -> dict[str, Rounds]:
    print(f"\n{title}, medians of {options.rounds} rounds in turn", flush=True)
    names = [*contenders, *(["pillow"] if options.pillow else [])]
    try:
        start("compiled", folder, size)
    except SystemExit as error:
        print(f"  compiled: {error}")
        names.remove("compiled")
    rounds = [{name: start(name, folder, size) for name in names} for _ in range(options.rounds)]
    digests = {done[name]["digest"] for done in rounds for name in names if "digest" in done[name]}
    if len(digests) != 1:
        sys.exit(f"the tensors differ: {digests}")
    for name in names:
        print(
            f"  {name:<10}{rate(rounds, name, 'cpu'):8,.0f} images/CPU-s"
            f" {rate(rounds, name, 'wall'):8,.0f} images/s"
            f" {middle(done[name]['memory'] for done in rounds):6.0f} MB"
            f"   of Keras: {versus(rounds, name, 'cpu')} a CPU-s,"
            f" {versus(rounds, name, 'wall')} by the clock",
            flush=True,
        )
    return {title: rounds}


def rate(rounds: Rounds, name: str, measure: str) -> float:
    return middle(done[name]["images"] / done[name][measure] for done in rounds)


def versus(rounds: Rounds, name: str, measure: str, rival: str = "keras") -> str:
    ratios = sorted(done[rival][measure] / done[name][measure] for done in rounds)
    return f"{middle(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def middle(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


COLUMNS = {
    **{"with the compiled decoder": "compiled", "without": "plumbline", "Keras": "keras"},
    **{"tf.data": "tf.data", "tf.data, ratio=8": "tf.data/8", "bare": "bare"},
}


def result_of(found: dict[str, Rounds], options: argparse.Namespace) -> dict[str, Any]:
    """A file of benchmarks/results: images a CPU-second, and the ratios within the rounds."""
    rows, figures = [], dict(options.figures)
    for title, rounds in found.items():
        there = rounds[0]
        cells = [f"{rate(rounds, name, 'cpu'):,.0f}" if name in there else "" for name in COLUMNS.values()]
        rows.append([title, *cells])
        for text, name in COLUMNS.items():
            for rival in ("keras", "tf.data/8"):
                if name in there and rival in there and name not in (rival, "bare"):
                    what = f"{title}: {text}, of {rival}"
                    figures[f"{what}, a CPU-second"] = f"{versus(rounds, name, 'cpu', rival)} times"
                    figures[f"{what}, by the clock"] = f"{versus(rounds, name, 'wall', rival)} times"
            if name in there:
                memory = middle(done[name]["memory"] for done in rounds)
                figures[f"{title}: {text}, peak memory"] = f"{memory:.0f} MB"
    machine, columns = pairs.machine(), ["images", *COLUMNS]
    device = f"{machine['cores']} CPU cores ({machine['processor']}), load {pairs.load()}"
    return {
        "section": "Folder to tensors",
        "command": command_of(options),
        "device": f"{device}, TensorFlow {machine['versions']['tensorflow']}",
        "n": options.rounds,
        "columns": columns,
        "rows": rows,
        "figures": figures,
        "pages": {"docs/benchmarks.md": columns},
    }


def command_of(options: argparse.Namespace) -> str:
    growth = " --growth" if options.growth else ""
    small = "--folder FOLDER" if options.folder else f"--images {options.images}"
    photos = f"--photos {options.photos} --distinct {options.distinct} --rounds {options.rounds}{growth}"
    return f"python benchmarks/folder_to_tensors.py {small} {photos}"


if __name__ == "__main__":
    main()
