"""Small real files for the tests of `tasks.core.data`: images, folders, archives."""

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from tasks.core.config import NormalizeSettings
from tasks.core.data.readers.array_format import ArrayFormat

ALLOW_ALL_UNREADABLE = NormalizeSettings(max_quarantine=1.0)
SMALL_CIFAR = ArrayFormat(
    classes=("cat", "dog"),
    shape=(4, 4, 3),
    members=(("small/train.bin", "train"), ("small/test.bin", "test")),
)


def noise(seed: int, height: int = 32, width: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """Random pixels, uint8; (height, width) if grey."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """A colour gradient (red rightwards, green downwards), which JPEG keeps to within a few levels."""
    red = np.tile(np.linspace(0, 255, width), (height, 1))
    green = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    return np.stack([red, green, np.full_like(red, 128)], axis=2).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8] | Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    """The image as the bytes of a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def put(path: Path, content: bytes) -> Path:
    """Write a file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def photos(root: Path, counts: Mapping[str, int], seed: int = 0, size: int = 32) -> Path:
    """A folder of different PNGs, `counts` of them by subfolder ("train/cat" or "cat")."""
    for folder, count in counts.items():
        for number in range(count):
            seed += 1
            put(root / folder / f"{number:03d}.png", encoded(noise(seed, size, size)))
    return root


def records(array_format: ArrayFormat, labels: list[int], seed: int = 0) -> bytes:
    """CIFAR records: label byte(s), then the planes of red, green and blue."""
    height, width, channels = array_format.shape
    blocks = []
    for number, label in enumerate(labels):
        image = np.random.default_rng(seed + number).integers(0, 256, (height, width, channels), np.uint8)
        blocks.append(
            bytes([0] * (array_format.label_bytes - 1) + [label]) + image.transpose(2, 0, 1).tobytes()
        )
    return b"".join(blocks)


def idx(values: NDArray[np.uint8]) -> bytes:
    """An idx file: zero, zero, type 8, dimensions, sizes as big-endian uint32, values; gzipped."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", side) for side in values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


def mnist(folder: Path, train: int = 40, test: int = 10) -> Path:
    """A folder with the four files of MNIST, with few images."""
    for part, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        put(
            folder / f"{part}-images-idx3-ubyte.gz",
            idx(noise(count, count, 28 * 28, 1).reshape(count, 28, 28)),
        )
        put(folder / f"{part}-labels-idx1-ubyte.gz", idx(labels))
    return folder


def tar_gz(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a .tar.gz with these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return put(path, gzip.compress(buffer.getvalue(), mtime=0))


def files_below(folder: Path) -> list[str]:
    """Every file below a folder except locks, to check that nothing was written."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(path.relative_to(folder).as_posix() for path in files)


def parquet(
    path: Path,
    labels: Sequence[int | str | None],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    image: str = "image",
    label: str = "label",
    contents: Sequence[bytes | None] | None = None,
    row_group_size: int = 7,
) -> Path:
    """Images in the layout of the Hugging Face hub; `names` become a ClassLabel feature in the metadata."""
    contents = contents or [encoded(noise(seed + number)) for number in range(len(labels))]
    images = [{"bytes": content, "path": f"{number}.png"} for number, content in enumerate(contents)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    label_type = pa.string() if any(isinstance(value, str) for value in labels) else pa.int64()
    schema = pa.schema([(image, struct), (label, label_type)])
    if names is not None:
        features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table([pa.array(images, struct), pa.array(labels, label_type)], schema=schema),
        path,
        row_group_size,
    )
    return path


def heic(pixels: NDArray[np.uint8], orientation: int = 1) -> bytes:
    """The image as a lossless HEIC file, which a viewer turns as this EXIF orientation says."""
    import pillow_heif  # the extra `heif`; few tests need it

    tags = Image.Exif()
    tags[0x0112] = orientation
    buffer = io.BytesIO()
    options = {"quality": -1, "chroma": 444, "matrix_coefficients": 0, "exif": tags.tobytes()}
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, **options)
    return buffer.getvalue()
