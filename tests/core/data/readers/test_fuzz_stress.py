"""Mutated real files: every reader ends with a result or a typed error.

    make stress ARGS="tests/core/data/readers/test_fuzz_stress.py"

10,000 files for the decoders and 2,000 each for the readers of archives, idx and parquet, from fixed seeds. A
crash ends the run at the batch in the last line of output. A case that takes `TIME_LIMIT` seconds counts as a
hang.
"""

import gzip
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.files import listing
from tasks.core.data.files.archive import Archive
from tasks.core.data.readers import cifar, factory, idx
from tasks.core.data.readers.parquet.reader import ParquetReader
from tasks.core.data.sources.catalog import DATASETS
from tasks.core.errors import ArchiveError, DataError, DecodeError
from tasks.core.storage.hashing import sha256_file
from tests.support.image_archives import tarred, two_classes, zipped
from tests.support.sample_files import (
    SMALL_CIFAR,
    encoded,
    mnist,
    noise,
    parquet,
    put,
    records,
    smooth,
    tar_gz,
)

pytestmark = pytest.mark.stress

TIME_LIMIT = 60  # seconds; the slowest good file takes a hundredth of one
BATCH = 500
EXTREMES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00", b"\x00\x00\x00\x00")


def mutated(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to four changes: bits, bytes, extreme values, pieces removed, doubled, or taken from `other`."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice(MUTATIONS)(changed, other, rng)
    return bytes(changed)


def _position(changed: bytearray, rng: random.Random) -> int:
    """A position; half of the time it is in the first 200 bytes, where headers are."""
    end = min(200, len(changed)) if rng.random() < 0.5 else len(changed)
    return rng.randrange(max(1, end))


def _flip(changed: bytearray, other: bytes, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 8))):
        if changed:
            changed[_position(changed, rng) % len(changed)] ^= 1 << rng.randrange(8)


def _extreme(changed: bytearray, other: bytes, rng: random.Random) -> None:
    value, position = rng.choice(EXTREMES), _position(changed, rng)
    changed[position : position + len(value)] = value


def _random_bytes(changed: bytearray, other: bytes, rng: random.Random) -> None:
    position, count = _position(changed, rng), rng.randint(1, 64)
    changed[position : position + count] = rng.randbytes(count)


def _lose(changed: bytearray, other: bytes, rng: random.Random) -> None:
    position = _position(changed, rng)
    del changed[position : position + rng.choice((1, 4, 100, 1000))]


def _cut(changed: bytearray, other: bytes, rng: random.Random) -> None:
    del changed[_position(changed, rng) :]


def _double(changed: bytearray, other: bytes, rng: random.Random) -> None:
    position, count = _position(changed, rng), rng.choice((1, 16, 300))
    changed[position:position] = changed[position : position + count] * rng.choice((1, 3))


def _splice(changed: bytearray, other: bytes, rng: random.Random) -> None:
    position = _position(changed, rng)
    changed[position:] = other[position if rng.random() < 0.5 else rng.randrange(len(other)) :]


MUTATIONS: tuple[Callable[[bytearray, bytes, random.Random], None], ...] = (
    _flip,
    _extreme,
    _random_bytes,
    _lose,
    _cut,
    _double,
    _splice,
)


@contextmanager
def time_limit(case: str) -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise AssertionError(f"{case} hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(TIME_LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def images() -> list[bytes]:
    """A file of every format that the decoder reads."""
    colour, grey = smooth(48, 64), noise(1, 40, 40, 1)
    wide = np.random.default_rng(2).integers(0, 65536, (30, 30), dtype=np.uint16)
    alpha = np.dstack([noise(3), noise(4, channels=1)])
    tags = Image.Exif()
    tags[0x0112] = 6
    frames = [Image.fromarray(noise(seed)) for seed in (5, 6, 7)]
    cmyk = Image.fromarray(colour).convert("CMYK")
    return [
        encoded(colour, "JPEG"),
        encoded(colour, "JPEG", progressive=True),
        encoded(colour, "JPEG", exif=tags.tobytes(), subsampling=0),
        encoded(grey, "JPEG"),
        encoded(cmyk, "JPEG"),
        encoded(colour, "PNG"),
        encoded(alpha, "PNG"),
        encoded(Image.fromarray(wide), "PNG"),
        encoded(Image.fromarray(colour).quantize(32), "PNG", transparency=3),
        encoded(colour, "PNG", exif=tags.tobytes()),
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        encoded(colour, "WEBP"),
        encoded(alpha, "WEBP", lossless=True),
        encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        encoded(colour, "BMP"),
        encoded(grey, "BMP"),
        encoded(colour, "TIFF"),
        encoded(colour, "TIFF", compression="tiff_lzw"),
        encoded(Image.fromarray(wide), "TIFF", compression="tiff_deflate"),
    ]


@pytest.mark.parametrize("batch", range(20))
def test_decoders_with_mutated_images(batch: int) -> None:
    """10,000 mutated images: an array of the requested shape, or a `DecodeError`."""
    good = images()
    rng = random.Random(batch)
    readable = 0
    for number in range(BATCH):
        content = mutated(rng.choice(good), rng.choice(good), rng)
        target = rng.choice((Target((32, 32), 3), Target((16, 24), 1), Target(None, 3)))
        with time_limit(f"batch {batch}, case {number}"):
            try:
                image, original = decode.decode(content, target)
            except DecodeError:
                continue
        readable += 1
        assert image.dtype == np.uint8
        assert image.shape == ((*target.size, target.channels) if target.size else (*original[:2], 3))
    assert 0 < readable < BATCH  # some mutations are harmless and some are not


@pytest.mark.parametrize("batch", range(4))
def test_cifar_reader_with_mutated_archives(tmp_path: Path, batch: int) -> None:
    """2,000 mutated archives, half of them mutated inside the gzip: blocks, or an `ArchiveError`."""
    members = {
        "small/readme.txt": b"two members",
        "small/train.bin": records(SMALL_CIFAR, [0, 1] * 20),
        "small/test.bin": records(SMALL_CIFAR, [1, 0] * 5, 100),
    }
    good = tar_gz(tmp_path / "good.tar.gz", members).read_bytes()
    tar = gzip.decompress(good)
    rng, readable = random.Random(1000 + batch), 0
    for number in range(BATCH):
        inside = rng.random() < 0.5
        content = gzip.compress(mutated(tar, tar, rng), 1) if inside else mutated(good, good, rng)
        path = put(tmp_path / "case.tar.gz", content)
        with time_limit(f"batch {batch}, case {number}"):
            try:
                blocks = list(cifar.blocks(path, SMALL_CIFAR))
            except ArchiveError:
                continue
        readable += 1
        assert {block.part for block in blocks} == {"small/train.bin", "small/test.bin"}
        assert all(block.labels.max() <= 1 for block in blocks)
    assert 0 < readable < BATCH


@pytest.mark.parametrize("batch", range(4))
def test_idx_reader_with_mutated_files(tmp_path: Path, batch: int) -> None:
    """2,000 mutated idx files, half of them mutated inside the gzip: blocks, or an `ArchiveError`."""
    files = {path.name: path for path in mnist(tmp_path / "good").iterdir()}
    contents = {name: path.read_bytes() for name, path in files.items()}
    rng, readable = random.Random(2000 + batch), 0
    for number in range(BATCH):
        name = rng.choice(sorted(contents))
        good, plain = contents[name], gzip.decompress(contents[name])
        inside = rng.random() < 0.5
        content = gzip.compress(mutated(plain, plain, rng), 1) if inside else mutated(good, good, rng)
        case = {**files, name: put(tmp_path / name, content)}
        with time_limit(f"batch {batch}, case {number}"):
            try:
                blocks = list(idx.blocks(case, DATASETS["mnist"].array_format))
            except ArchiveError:
                continue
        readable += 1
        assert all(len(block.images) == len(block.labels) for block in blocks)
        assert sum(len(block.labels) for block in blocks) == 50
    assert 0 < readable < BATCH


@pytest.mark.parametrize("batch", range(4))
def test_parquet_reader_with_mutated_files(tmp_path: Path, batch: int) -> None:
    """2,000 mutated parquet files: rows and images, or a `DataError`."""
    names = ("cat", "dog")
    good = parquet(tmp_path / "good.parquet", [0, 1] * 10, names=names).read_bytes()
    other = parquet(tmp_path / "other.parquet", ["cat", "dog"] * 10, seed=50).read_bytes()
    rng, readable = random.Random(3000 + batch), 0
    for number in range(BATCH):
        base = rng.choice((good, other))
        footer = rng.random() < 0.5  # the footer has the schema and the positions of the pages
        cut = len(base) - int.from_bytes(base[-8:-4], "little") - 8 if footer else 0
        content = base[:cut] + mutated(base[cut:], other, rng)
        path = put(tmp_path / "case.parquet", content)
        with time_limit(f"batch {batch}, case {number}"):
            try:
                file = listing.ListedFile(path.name, len(content), sha256_file(path))
                reader = ParquetReader(tmp_path, listing.table([file]))
                count = reader.count()
                rows = reader.index()
                images = list(reader.images(range(len(rows)), Target((32, 32), 3)))
            except DataError:
                continue
        readable += 1
        assert len(rows) == count == len(images)
    assert 0 < readable < BATCH


@pytest.mark.parametrize("batch", range(4))
def test_image_archives_with_mutated_bytes(tmp_path: Path, batch: int) -> None:
    """2,000 mutated zips and tars: files of the listed sizes, or a `DataError`."""
    good = [make(tmp_path / "good", two_classes()).read_bytes() for make in (zipped, tarred)]
    rng, readable = random.Random(4000 + batch), 0
    for number in range(BATCH):
        path = put(tmp_path / "case", mutated(rng.choice(good), rng.choice(good), rng))
        with time_limit(f"batch {batch}, case {number}"):
            try:
                files = factory.FILE_FORMATS["archive"].scan(path).to_pylist()
                opened = Archive(path)
                contents = [opened.read(file["path"], file["bytes"]) for file in files]
            except DataError:
                continue
        readable += 1
        assert [len(content) for content in contents] == [file["bytes"] for file in files]
    assert 0 < readable < BATCH
