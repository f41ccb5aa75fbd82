"""The compiled decoder gives the bytes and messages of the decoder in Python, and is refused if it cannot."""

import hashlib
import logging
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.config import Fit, NormalizeSettings, SourceSettings
from tasks.core.data import decode, decode_blocks
from tasks.core.data.block_decoder import library, plain_folders, recent_files, text_hashes
from tasks.core.data.block_decoder.library import FileBlock, Library
from tasks.core.data.block_decoder.recent_files import RecentFiles
from tasks.core.data.decode import Target
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.errors import DecodeError
from tasks.core.workspace import Workspace
from tests.core.data.block_decoder.conftest import ROOT, SOURCES
from tests.support.sample_files import encoded, noise, put, smooth

FLAT = encoded(smooth(40, 56), "JPEG", quality=90)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[decode.ORIENTATION] = orientation
    return tags


def segment(marker: int, body: bytes) -> bytes:
    return FLAT[:2] + bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body + FLAT[2:]


def huge() -> bytes:
    """A small file whose header says 60,000 x 60,000 pixels."""
    place = FLAT.index(b"\xff\xc0") + 5
    return FLAT[:place] + (60_000).to_bytes(2, "big") * 2 + FLAT[place + 4 :]


def many_sizes() -> dict[str, bytes]:
    sizes = [(32, 32), (31, 33), (97, 64), (64, 97), (150, 150), (95, 193), (400, 260), (33, 300), (5, 4)]
    return {f"{h}x{w}": encoded(noise(h, h, w), "JPEG", quality=70) for h, w in sizes}


IMAGES = {
    **many_sizes(),
    **{f"sampling {n}": encoded(noise(n, 50, 70), "JPEG", subsampling=n) for n in (0, 1, 2)},
    "grey": encoded(noise(1, 32, 32, 1), "JPEG"),
    "large grey": encoded(noise(2, 130, 90, 1), "JPEG"),
    "progressive": encoded(noise(3), "JPEG", progressive=True),
    "CMYK": encoded(Image.fromarray(noise(4)).convert("CMYK"), "JPEG"),
    "RGB inside": encoded(noise(5), "JPEG", keep_rgb=True),
    "restart markers": encoded(noise(6, 64, 64), "JPEG", restart_marker_blocks=2),
    "rotated": encoded(noise(7, 40, 60), "JPEG", exif=exif(6)),
    "upright EXIF": encoded(noise(8), "JPEG", exif=exif(1)),
    "1x1": encoded(noise(9, 1, 1), "JPEG"),
    "3x50": encoded(noise(9, 3, 50), "JPEG"),
    "huge header": huge(),
    "truncated": encoded(noise(10, 64, 64), "JPEG")[:-900],
    "no end": FLAT[:-2],
    "bytes behind the end": FLAT + b"MotionPhoto" * 9,
    "JFIF 3": FLAT.replace(b"JFIF\0\x01", b"JFIF\0\x03", 1),
    "profile not complete": segment(0xE2, b"ICC_PROFILE\0\x01\x03xxxxxxxxxx"),
    "profile": encoded(noise(11), "JPEG", icc_profile=b"x" * 500),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
    "stray bytes": FLAT.replace(b"\xff\xdb", b"\0\1\2\xff\xdb", 1),
    "header only": FLAT[:20],
    "PNG": encoded(noise(12)),
    "text": b"no image",
    "empty": b"",
}
TARGETS = [
    *(Target((32, 32), channels, fit) for channels in (1, 3) for fit in Fit),
    *(Target(size, 3, fit) for size in ((20, 48), (64, 64)) for fit in Fit),
    Target(None, 3),
]


def alone(content: bytes, target: Target) -> tuple[object, ...]:
    """Pixels and original as bytes, or the reason."""
    try:
        image, original = decode.decode(content, target)
    except DecodeError as error:
        return ("refused", error.summary)
    return image.shape, image.tobytes(), original


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_blocks_have_the_bytes_of_decode(decoder: Library, target: Target) -> None:
    contents, left = list(IMAGES.values()), []
    files, addresses = library.in_memory(contents)

    def rest(position: int) -> tuple[object, ...]:
        left.append(list(IMAGES)[position])
        return alone(contents[position], target)

    found: list[tuple[object, ...]] = []
    for item in decode_blocks.decoded(decoder, files, target, None, addresses, rest):
        if isinstance(item, tuple):
            found.append(item)
            continue
        assert item.first == len(found)
        rows = zip(item.images, item.originals.tolist(), strict=True)
        found += [(image.shape, image.tobytes(), tuple(original)) for image, original in rows]
    assert found == [alone(content, target) for content in contents]
    faulty = {"CMYK", "rotated", "1x1", "3x50", "huge header", "truncated", "no end", "JFIF 3", "PNG", "text"}
    assert faulty <= set(left)
    assert not {"32x32", "progressive", "grey", "restart markers", "150x150"} & set(left)


def test_arena_that_is_full_goes_on_with_the_next(decoder: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_blocks, "ARENA", 3 * 32 * 32 * 3 + 100)
    contents = [encoded(noise(seed), "JPEG") for seed in range(10)]
    contents[4] = encoded(noise(4, 94, 94), "JPEG", quality=50)  # larger than the arena
    files, addresses = library.in_memory(contents)
    rest = decode_blocks.decoded(
        decoder, files, Target((32, 32), 3), None, addresses, lambda position: position
    )
    found = [item if isinstance(item, int) else (item.first, len(item.images)) for item in rest]
    assert found == [(0, 3), (3, 1), 4, (5, 3), (8, 2)]


def folder_of(images: dict[str, bytes], root: Path) -> Path:
    for number, (name, content) in enumerate(images.items()):
        put(root / "ab"[number % 2] / f"{name}.jpg", content)
    return root


def outputs(root: Path, workspace: Workspace, damaged: Path) -> dict[str, object]:
    handle = acquire.acquire(SourceSettings(str(root)), workspace, refresh=True)
    kept = damaged.read_bytes()
    put(damaged, kept[:-1] + b"x")  # after it was listed
    settings = NormalizeSettings(image_size=32, max_quarantine=1.0)
    cache = normalize.normalize(handle, settings, workspace, refresh=True)
    put(damaged, kept)
    table = pq.read_table(cache.directory / "quarantine.parquet").to_pylist()
    arrays = {path.name: path.read_bytes() for path in sorted(cache.directory.glob("*.npy"))}
    return {"quarantine": table, **arrays}


def test_folder_gives_the_same_tensors_and_quarantine_with_and_without(
    decoder: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {f"plain {seed}": encoded(noise(seed), "JPEG") for seed in range(100, 130)}
    root = folder_of({**IMAGES, **plain}, tmp_path / "images")
    workspace, damaged = Workspace.open(tmp_path / "workspace"), root / "a" / "plain 101.jpg"
    damaged = next(root.rglob("plain 101.jpg"))
    found = {}
    for value in (library.OFF, str(decoder.path)):
        monkeypatch.setenv(library.VARIABLE, value)
        library.load.cache_clear()
        assert (library.load() is None) == (value == library.OFF)
        found[value] = outputs(root, workspace, damaged)
    without, compiled = found.values()
    assert without["quarantine"] == compiled["quarantine"]
    reasons = {row["path"].rpartition("/")[2]: row["reason"] for row in without["quarantine"]}  # type: ignore[attr-defined]
    assert reasons["plain 101.jpg"] == "changed after it was listed"
    assert without == compiled


def test_hashes_are_those_of_hashlib(decoder: Library, tmp_path: Path) -> None:
    files = [put(tmp_path / f"é {size}", b"x" * size) for size in (0, 1, 64, 5000)]
    names = [*(path.name for path in files), "none", files[2].name, files[1].name]
    sizes = np.array([0, 1, 64, 5000, 3, 63, 1])  # the last but one grew after it was listed
    block = FileBlock(str(tmp_path), pa.array(["before", *names]).slice(1), sizes)
    of_files = [hashlib.sha256(path.read_bytes()).hexdigest().encode() for path in files[1:]]
    expected, kept = [b"", *of_files, b"", b"", of_files[0]], np.zeros(sizes.sum() + 1, np.uint8)
    assert decoder.sha256_of_files(block).tolist() == expected
    assert decoder.sha256_of_files(block, kept).tolist() == expected
    assert kept[: 1 + 64 + 5000].tobytes() == b"x" * 5065
    assert kept[-2:].tobytes() == b"x\0"
    texts = ["a" * 64, "b" * 64]
    for text in (texts, ["é", "a"], ["a", "bc"], [], ["x" * 300]):
        digests = b"".join(hashlib.sha256(f"salt:{part}".encode()).digest() for part in text)
        assert text_hashes.sha256_of_each("salt:", text) == digests


ODD_ENTRIES = {
    "a text": "notes.txt",
    "a hidden file": ".a.jpg",
    "a name beyond ASCII": "ö.jpg",
    "no suffix": "a",
}


@pytest.mark.parametrize("odd", [None, "link", "folder", *ODD_ENTRIES])
def test_folder_is_listed_alike_in_c_and_in_python(decoder: Library, tmp_path: Path, odd: str | None) -> None:
    for number in range(12):
        put(tmp_path / "cat" / f"{number}{('.jpg', '.JPeG', '.png')[number % 3]}", b"x" * number)
    if odd == "link":
        (tmp_path / "cat" / "link.jpg").symlink_to(tmp_path / "cat" / "0.jpg")
    elif odd == "folder":
        put(tmp_path / "cat" / "more.jpg" / "1.jpg", b"x")
    elif odd:
        put(tmp_path / "cat" / ODD_ENTRIES[odd], b"x")
    folder = str(tmp_path / "cat")
    compiled = decoder.list_folder(folder, plain_folders.SUFFIXES, 2)  # room for 2: it is doubled
    python = plain_folders._listed(folder)
    if odd and odd != "a name beyond ASCII":
        assert (compiled, python) == (None, None)
        return
    assert python is not None
    assert (compiled is None) == bool(odd)
    for names, stats in filter(None, (compiled, python)):
        found = {name: tuple(row) for name, row in zip(names.to_pylist(), stats.tolist(), strict=True)}
        entries = {path.name: path.stat() for path in (tmp_path / "cat").iterdir()}
        assert found == {
            name: (entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns) for name, entry in entries.items()
        }


def test_content_that_was_kept_is_used_unless_the_file_was_changed(decoder: Library, tmp_path: Path) -> None:
    contents = [encoded(noise(seed), "JPEG") for seed in range(4)]
    paths = [put(tmp_path / f"{number}.jpg", content) for number, content in enumerate(contents)]
    names = pa.array([path.name for path in paths])
    stats = np.array([(len(c), p.stat().st_mtime_ns, p.stat().st_ctime_ns) for c, p in zip(contents, paths)])  # noqa: B905
    recent, every = RecentFiles(tmp_path, names, stats), np.arange(4)
    block = FileBlock(str(tmp_path), names, stats[:, 0], stats[:, 1:])
    buffer = recent.room(every)
    recent.sha256 = decoder.sha256_of_files(block, buffer)
    recent.keep(every, buffer, np.array([True, True, True, False]))
    recent_files.offer(recent)
    digits = recent.sha256.copy()
    digits[0] = b"0" * 64  # the listing has another content than the one that was kept
    listed = pa.chunked_array([[each.decode() for each in digits.tolist()]])
    assert recent_files.take(tmp_path / "other", pa.chunked_array([names]), listed) is None
    kept = recent_files.take(tmp_path, pa.chunked_array([names]), listed)
    assert kept is not None
    assert (kept.address > 0).tolist() == [False, True, True, False]
    assert recent_files.take(tmp_path, pa.chunked_array([names]), listed) is None  # it is given once
    put(paths[1], contents[0])  # changed
    put(paths[3], contents[3])
    found = decode_blocks.decoded(
        decoder, block, Target((32, 32), 3), digits, kept.address, lambda position: position
    )
    assert [item if isinstance(item, int) else item.first for item in found] == [0, 1, 2]  # 2 and 3 are a run


def changed_build(folder: Path, old: bytes, new: bytes) -> Path:
    """Another build, with something replaced in `decoder.c`."""
    main, *others = (ROOT / source for source in SOURCES)
    assert old in main.read_bytes()
    changed = put(folder / "decoder.c", main.read_bytes().replace(old, new))
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-o",
        str(folder / "other.so"),
        *map(str, (changed, *others)),
        "-ljpeg",
    ]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no cc")
    return folder / "other.so"


def test_folder_that_cannot_be_listed_to_its_end_is_left_to_python(built: Path, tmp_path: Path) -> None:
    """The disk reports an error after three files: they must not pass for all."""
    failing = b"(count < 3 ? readdir(folder) : (errno = EIO, (struct dirent *)0))"
    other = Library(changed_build(tmp_path, b"readdir(folder)", failing))
    for number in range(3):
        put(tmp_path / "three" / f"{number}.jpg", b"x")
    assert other.list_folder(str(tmp_path / "three"), plain_folders.SUFFIXES, 9) is None


def test_library_that_gives_other_bytes_is_not_used(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another build, whose DCT is the fast one: its pixels differ by a level here and there."""
    other = changed_build(tmp_path, b"JDCT_ISLOW", b"JDCT_IFAST")
    for path, message in ((other, "its pixels differ"), (tmp_path / "none.so", "none.so")):
        monkeypatch.setenv(library.VARIABLE, str(path))
        library.load.cache_clear()
        with caplog.at_level(logging.WARNING):
            assert library.load() is None
        assert message in caplog.text
