"""Duplicates that the audit finds, and how many of those planted in a dataset, beside a perceptual hash.

python benchmarks/audit_recall.py [--dataset cifar10] [--archive FILE] [--copies 1000] [--picture pairs.png]

Copies of train images are added to the test images, a thousand of each kind: recompressed as JPEG at quality
50 to 75, shifted by two pixels, brightened by 10 %, mirrored, and all of it at once. The distance is learned
from such copies. The kinds that are "held out" are others: nothing is learned from them. The rival is pHash
(64 bits of an 8x8 cosine transform; a pair counts up to 10 bits apart, the usual limit), against the same
images.
The picture shows the first 50 pairs that were there before: count the false ones by eye.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps
from scipy.fft import dctn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.audit import duplicates
from tasks.core.data.audit.image_set import ImageSet
from tasks.core.data.pixels import as_picture
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import SPLITS, open_split
from tasks.core.stage import publish
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

BITS = 10  # of 64 that two hashes of one picture may differ in
COLUMNS = ["split", "row", "image_id", "height", "width"]
SHIFTS = [(x, y) for x in (-2, 0, 2) for y in (-2, 0, 2) if (x, y) != (0, 0)]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def recompressed(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=int(generator.integers(50, 76)))
    return Image.open(content)


def shifted(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """By two pixels of 32; the edge is mirrored, so that nothing foreign comes in."""
    step = round(2 * image.width / 32)
    x, y = SHIFTS[generator.integers(len(SHIFTS))]
    wide = Image.fromarray(
        np.pad(np.asarray(image), [(step, step)] * 2 + [(0, 0)] * (np.asarray(image).ndim - 2), "reflect")
    )
    moved = ImageChops.offset(wide, x * step // 2, y * step // 2)
    return moved.crop((step, step, step + image.width, step + image.height))


def brightened(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


def mirrored(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(image)


def everything(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return recompressed(brightened(shifted(mirrored(image, generator), generator), generator), generator)


def cropped(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """To 85 % of each side, anywhere, and enlarged again."""
    width, height = (round(0.85 * side) for side in image.size)
    left, top = generator.integers(0, np.array(image.size) - (width, height) + 1)
    box = (int(left), int(top), int(left) + width, int(top) + height)
    return image.crop(box).resize(image.size, Image.Resampling.BICUBIC)


def zoomed(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    share = generator.uniform(0.85, 0.95)
    left, top = (side * (1 - share) / 2 for side in image.size)
    motion = (share, 0, left, 0, share, top)
    return image.transform(image.size, Image.Transform.AFFINE, motion, Image.Resampling.BICUBIC)


def rotated(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image.rotate(generator.choice([-4, 4]), Image.Resampling.BICUBIC)


def sharpened(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.UnsharpMask(2, 150, 0))


def gamma(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    power = generator.choice([0.6, 1.6])
    return image.point(lambda value: 255 * (value / 255) ** power)


def contrast(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(generator.choice([0.65, 1.5]))


def recoloured(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The hue moves by 17 degrees; grey images stay."""
    hue, *others = image.convert("RGB").convert("HSV").split()
    step = int(generator.choice([12, 244]))
    moved = Image.fromarray((np.asarray(hue).astype(int) + step).astype(np.uint8))
    return Image.merge("HSV", [moved, *others]).convert("RGB").convert(image.mode)


def small_jpeg(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Three quarters of the size, quality 40, and enlarged again."""
    content = io.BytesIO()
    small = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BILINEAR)
    small.save(content, "JPEG", quality=40)
    return Image.open(content).resize(image.size, Image.Resampling.BILINEAR)


def other_frame(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Shifted, zoomed, with another contrast, and as a small JPEG."""
    return small_jpeg(contrast(zoomed(shifted(image, generator), generator), generator), generator)


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "recompressed": recompressed,
    "shifted": shifted,
    "brightened": brightened,
    "mirrored": mirrored,
    "all at once": everything,
    "held out: cropped": cropped,
    "held out: zoomed": zoomed,
    "held out: rotated": rotated,
    "held out: sharpened": sharpened,
    "held out: gamma": gamma,
    "held out: contrast": contrast,
    "held out: recoloured": recoloured,
    "held out: small JPEG": small_jpeg,
    "held out: frame": other_frame,
}


def planted(cache: TensorCache, workspace: Workspace, count: int) -> tuple[TensorCache, NDArray[np.int64]]:
    """The tensors with `count` copies of each kind added to test, and the train row of each copy."""
    train = open_split(cache, "train")
    generator = np.random.default_rng(0)
    rows = generator.choice(cache.train, len(KINDS) * count, replace=False)
    kinds = np.repeat(list(KINDS), count)
    copies = np.stack(
        [_copy(train.images[row], KINDS[kind], generator) for row, kind in zip(rows, kinds, strict=True)]
    )

    def build(staging: Path) -> dict[str, Any]:
        for split in SPLITS:
            opened = open_split(cache, split)
            added = split == "test"
            images = np.concatenate([opened.images, copies]) if added else opened.images
            labels = np.concatenate([opened.labels, train.labels[rows]]) if added else opened.labels
            np.save(staging / f"{split}.images.npy", images)
            np.save(staging / f"{split}.labels.npy", labels)
        old = pq.read_table(cache.directory / "rows.parquet", columns=COLUMNS)
        new = {
            "split": ["test"] * len(rows),
            "row": range(cache.test, cache.test + len(rows)),
            "image_id": map(str, range(len(rows))),
            "height": [cache.shape[0]] * len(rows),
            "width": [cache.shape[1]] * len(rows),
        }
        table = pa.table({name: list(values) for name, values in new.items()}).cast(old.schema)
        pq.write_table(pa.concat_tables([old, table]), staging / "rows.parquet")
        return {}

    made_of = Ingredients("normalize", {"tensors": cache.digest}, {"planted": count})
    directory = workspace.root / "tensors" / made_of.digest
    publish.publish(directory, made_of, build)
    fields = cache.as_dict() | {"path": workspace.relative(directory), "digest": made_of.digest}
    return TensorCache(**fields | {"test": cache.test + len(rows)}), rows


def _copy(
    image: NDArray[np.uint8], change: Callable[..., Image.Image], generator: np.random.Generator
) -> NDArray[np.uint8]:
    picture = as_picture(image)
    return np.asarray(change(picture, generator)).reshape(image.shape)


def hashed(cache: TensorCache) -> Pairs:
    """Pairs that pHash takes for duplicates."""
    gallery = ImageSet.of(cache)
    hashes = np.array([_hash(image) for split in gallery.splits for image in split.images])
    found = []
    for start in range(0, len(hashes), 256):
        apart = np.bitwise_count(hashes[start : start + 256, None] ^ hashes[start:])
        a, b = np.nonzero(apart <= BITS)
        found.append((a[a < b] + start, b[a < b] + start))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _hash(image: NDArray[np.uint8]) -> np.uint64:
    """Which of the 64 lowest cosine coefficients lie above their median (Zauner, 2010)."""
    light = as_picture(image).convert("L").resize((32, 32))
    low = dctn(np.asarray(light, np.float32))[:8, :8]
    return np.packbits(low > np.median(low)).view(np.uint64)[0]


def recall(found: Pairs, cache: TensorCache, rows: NDArray[np.int64]) -> dict[str, float]:
    """Share of the planted pairs that were found, by kind."""
    first = ImageSet.of(cache).sizes[0] + cache.val + cache.test - len(rows)
    have = set(zip(found[0].tolist(), found[1].tolist(), strict=True))
    hits = np.array([(int(row), first + number) in have for number, row in enumerate(rows)])
    return dict(zip(KINDS, hits.reshape(len(KINDS), -1).mean(1).tolist(), strict=True))


def draw(cache: TensorCache, found: duplicates.Duplicates, path: Path, count: int = 50) -> None:
    """The first `count` pairs that are not exact, side by side, ten in a row."""
    order = np.argsort(found.distance, kind="stable")
    order = order[~found.exact[order]][:count]
    gallery, scale = ImageSet.of(cache), max(1, 64 // cache.shape[0])
    height, width = cache.shape[0] * scale, cache.shape[1] * scale
    sheet = Image.new("RGB", (10 * (2 * width + 8), max(1, -(-len(order) // 10)) * (height + 8)), "white")
    for place, pair in enumerate(order):
        for side, image in enumerate(gallery.take(np.array([found.a[pair], found.b[pair]]))):
            picture = as_picture(image)
            at = (place % 10 * (2 * width + 8) + side * (width + 1), place // 10 * (height + 8))
            sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), at)
    sheet.save(path)


def timed(work: Callable[[], Any]) -> tuple[Any, str]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, f"{time.perf_counter() - wall:6.1f} s, {time.process_time() - cpu:6.1f} CPU-seconds"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--archive-sha256")
    parser.add_argument("--image-size", type=int, help="of the tensors; default: as train_flow")
    parser.add_argument("--copies", type=int, default=1000, help="planted copies of each kind")
    parser.add_argument(
        "--picture", type=Path, default=Path("pairs.png"), help="where the first pairs are drawn"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(folder)
        source = acquire.acquire(
            SourceSettings(given.dataset, given.archive, given.archive_sha256), workspace
        )
        cache = normalize.normalize(source, NormalizeSettings(image_size=given.image_size), workspace)
        print(cache)
        found, cost = timed(lambda: duplicates.find(cache))
        print(f"audit: {cost}, {len(found.a):,} pairs")
        table = duplicates.table(found, ImageSet.of(cache).starts)
        for group in (
            table.group_by(["kind", "split_a", "split_b"]).aggregate([([], "count_all")]).to_pylist()
        ):
            print(f"  {group['count_all']:6,} {group['kind']:5} {group['split_a']}-{group['split_b']}")
        leaks = duplicates.leaking(found, ImageSet.of(cache).starts)
        print(f"  {int(leaks['test'].sum()):,} test images leak")
        draw(cache, found, given.picture)
        rival, cost = timed(lambda: hashed(cache))
        print(f"pHash: {cost}, {len(rival[0]):,} pairs")
        count = min(given.copies, cache.train // len(KINDS))
        more, rows = planted(cache, workspace, count)
        again, cost = timed(lambda: duplicates.find(more))
        print(f"\nwith {len(rows):,} planted copies, {count:,} of each kind: {cost}\n{'':20}  audit   pHash")
        ours, theirs = recall((again.a, again.b), more, rows), recall(hashed(more), more, rows)
        for kind in KINDS:
            print(f"{kind:20} {ours[kind]:6.1%}  {theirs[kind]:6.1%}")


if __name__ == "__main__":
    main()
