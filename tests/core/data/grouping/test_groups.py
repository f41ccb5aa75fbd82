"""Groups and attributes from a source to the tensors, by CSV, parquet and --group-by."""

import io
import logging
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.grouping import capture_time
from tasks.core.data.grouping import option as groups
from tasks.core.data.grouping.pattern import pattern_groups
from tasks.core.data.sources import acquire, resolve
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.groups import read_attributes, read_groups
from tasks.core.errors import DataError, UsageError
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, noise, photos, put


def tensors_of(source: Path, workspace: Workspace, **settings: object) -> TensorCache:
    raw = acquire.acquire(SourceSettings(str(source)), workspace)
    return normalize.normalize(raw, NormalizeSettings(**settings), workspace)


def rows_of(tensors: TensorCache) -> pd.DataFrame:
    return pd.read_parquet(tensors.directory / "rows.parquet")


def csv_of(folder: Path, header: str, lines: list[str]) -> Path:
    for number, _ in enumerate(lines):
        put(folder / "img" / f"{number}.png", encoded(noise(number, 8, 8)))
    rows = [f"img/{number}.png,{'ab'[number % 2]},{line}" for number, line in enumerate(lines)]
    return put(folder / "scans.csv", "\n".join([header, *rows]).encode())


def patient_folder(root: Path, patients: int = 20, images: int = 4) -> Path:
    for patient in range(patients):
        for number in range(images):
            name = f"{'ab'[patient % 2]}/p{patient:03}_{number:02}.png"
            put(root / name, encoded(noise(100 * patient + number, 8, 8)))
    return root


def test_csv_group_and_attributes_reach_the_tensors(tmp_path: Path, workspace: Workspace) -> None:
    """An empty group is none; the remark is different everywhere, so it is no attribute."""
    lines = [f"{'' if n < 6 else f'p{n // 5}'},{('north', 'south', '')[n % 3]},note {n}" for n in range(80)]
    tensors = tensors_of(csv_of(tmp_path, "path,label,group,site,remark", lines), workspace)
    rows = rows_of(tensors)
    assert [name for name in rows if name not in normalize.ROW_SCHEMA.names] == ["group", "attribute_site"]
    sizes = []
    for split, of_split in rows.groupby("split"):
        of_split = of_split.sort_values("row")
        codes = read_groups(tensors, split)
        assert codes.dtype == np.int64
        names = of_split["group"].where(of_split["group"].notna(), of_split["path"])
        assert codes.tolist() == pd.factorize(names)[0].tolist()
        sizes.append((split, names.nunique()))
        numbers = of_split["path"].str.extract(r"(\d+)\.png")[0].astype(int)
        sites = [("north", "south", None)[n % 3] for n in numbers]
        assert read_attributes(tensors, split) == {"site": sites}
    assert rows.dropna(subset="group").groupby("group")["split"].nunique().max() == 1
    assert dict(sizes) == dict(zip(("train", "val", "test"), tensors.groups, strict=True))
    assert "groups" in str(tensors)


def test_csv_without_groups_has_none(tmp_path: Path, workspace: Workspace) -> None:
    tensors = tensors_of(csv_of(tmp_path, "path,label,group", [""] * 40), workspace)
    assert rows_of(tensors).columns.tolist() == normalize.ROW_SCHEMA.names
    assert read_groups(tensors, "test") is None
    assert (tensors.groups, read_attributes(tensors, "test")) == ((), {})


def test_csv_group_is_part_of_the_identity(tmp_path: Path, workspace: Workspace) -> None:
    lines = [f"p{n // 4},x" for n in range(40)]
    first = acquire.acquire(SourceSettings(str(csv_of(tmp_path, "path,label,group,c", lines))), workspace)
    lines[7] = "p9,x"
    again = acquire.acquire(SourceSettings(str(csv_of(tmp_path, "path,label,group,c", lines))), workspace)
    assert first.images_digest != again.images_digest


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("path,label", "x", "line 2, has more fields than the first line"),
        ("path,label,site,site", "x,y", "has a column twice"),
    ],
)
def test_csv_fields_without_a_name_of_their_own_are_refused(
    tmp_path: Path, workspace: Workspace, header: str, line: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        tensors_of(csv_of(tmp_path, header, [line] * 8), workspace)


def test_parquet_group_and_attributes_reach_the_tensors(tmp_path: Path, workspace: Workspace) -> None:
    """A group of numbers, a bool, and a column that only one of two files has."""
    (tmp_path / "scans").mkdir()
    for part in range(2):
        numbers = range(40 * part, 40 * part + 40)
        columns = {
            "image": [encoded(noise(n, 8, 8)) for n in numbers],
            "label": ["ab"[n % 2] for n in numbers],
            "group": [n // 4 for n in numbers],
            "flash": [n % 2 == 0 for n in numbers],
        }
        columns |= {"season": ["winter" if n < 60 else "summer" for n in numbers]} if part else {}
        pq.write_table(pa.table(columns), tmp_path / "scans" / f"{part}.parquet")
    tensors = tensors_of(tmp_path / "scans", workspace)
    rows = rows_of(tensors)
    numbers = rows["path"].str.extract(r"(\d).parquet#(\d+)").astype(int)
    number = 40 * numbers[0] + numbers[1]
    assert rows["group"].tolist() == (number // 4).astype(str).tolist()
    assert rows["attribute_flash"].tolist() == (number % 2 == 0).map({True: "true", False: "false"}).tolist()
    seasons = [None if n < 40 else "winter" if n < 60 else "summer" for n in number]
    assert (
        rows["attribute_season"].astype(object).where(lambda column: column.notna(), None).tolist() == seasons
    )
    assert rows.groupby("group")["split"].nunique().max() == 1


def test_group_by_pattern_on_a_folder(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    root = patient_folder(tmp_path / "scans")
    put(root / "a" / "other.png", encoded(noise(9999, 8, 8)))
    plain = tensors_of(root, workspace)
    assert "group_by" not in plain.manifest["ingredients"]["parameters"]
    with caplog.at_level(logging.WARNING, "plumbline"):
        tensors = tensors_of(root, workspace, group_by=r"(p\d+)_\d+")
    assert "1 of 81 images have a path that does not match, and each is a group of its own" in caplog.text
    assert tensors.manifest["ingredients"]["parameters"]["group_by"] == r"(p\d+)_\d+"
    rows = rows_of(tensors)
    assert rows["group"].isna().sum() == 1
    assert rows.groupby("group")["split"].nunique().max() == 1
    assert rows_of(plain).merge(rows, on="path", suffixes=("", "_g"))["path"].size == 81


def test_group_by_folder_is_the_folder_below_the_class(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "scans"
    for number in range(60):
        name = f"{'ab'[number % 2]}/patient {number // 4}/day 1/{number}.png"
        put(root / name, encoded(noise(number, 8, 8)))
    put(root / "a" / "single.png", encoded(noise(99, 8, 8)))
    rows = rows_of(tensors_of(root, workspace, group_by="folder")).set_index("path")["group"]
    assert pd.isna(rows["a/single.png"])
    assert rows["b/patient 3/day 1/13.png"] == rows["a/patient 3/day 1/12.png"] == "patient 3/day 1"


def test_group_by_overrides_the_column_and_says_so(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    path = csv_of(tmp_path, "path,label,group", [f"p{n // 4}" for n in range(60)])
    with caplog.at_level(logging.WARNING, "plumbline"):
        rows = rows_of(tensors_of(path, workspace, group_by=r"img/(\d)\d"))
    assert "the column group is not used" in caplog.text
    assert set(rows["group"].dropna()) == set("12345")


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        ("(p", "is not a regular expression"),
        ("(p)?", "matches an empty text"),
        ("time-gap", "needs a number of seconds"),
        ("time-gap=soon", "needs a number of seconds"),
        ("time-gap=-1", "needs a number of seconds"),
    ],
)
def test_group_by_that_cannot_be_read_is_refused_before_anything_starts(group_by: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve.check_group_by(SourceSettings("digits"), group_by)


def test_group_by_needs_files_and_a_match(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="needs images that are files"):
        resolve.check_group_by(SourceSettings("digits"), "folder")
    root = photos(tmp_path / "animals", {"cat": 12, "dog": 12}, size=8)
    for group_by in ("folder", "time-gap=5", "(patient)"):
        with pytest.raises(DataError, match="finds no group"):
            tensors_of(root, workspace, group_by=group_by)


def test_group_by_pattern_takes_the_named_group_the_first_or_all() -> None:
    paths = ["a/p1_x3.png", "b/q.png"]
    for pattern, expected in ((r"(p)\d_(?P<group>x\d)", "x3"), (r"(p\d)_(x)", "p1"), (r"p\d_", "p1_")):
        assert pattern_groups(paths, re.compile(pattern)) == [expected, None]


def photo_taken(time: str, fraction: str = "", camera: str = "X1") -> bytes:
    image, buffer = (
        Image.fromarray(noise(zlib.crc32(f"{time} {fraction} {camera}".encode()), 8, 8)),
        io.BytesIO(),
    )
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", camera
    details = exif.get_ifd(0x8769)
    details[0x9003] = time
    if fraction:
        details[0x9291] = fraction
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def captured(time: str, fraction: str = "", camera: str = "X1") -> capture_time.Capture | None:
    return capture_time.read(io.BytesIO(photo_taken(time, fraction, camera)))


def test_capture_time_is_read_from_exif() -> None:
    capture = captured("2024:05:01 12:00:07", "25")
    assert (capture.camera, capture.time.isoformat()) == ("Maker X1", "2024-05-01T12:00:07.250000")
    assert captured("0000:00:00 00:00:00") is None
    assert capture_time.read(io.BytesIO(encoded(noise(0)))) is None
    assert capture_time.read(io.BytesIO(b"no image")) is None


def test_time_groups_begin_after_a_gap_and_with_another_camera() -> None:
    """Five seconds are no gap of more than five; half a second more is."""
    captures = [
        captured("2024:05:01 12:00:05"),
        captured("2024:05:01 12:00:00"),
        captured("2024:05:01 12:00:10", "5"),
        None,
        captured("2024:05:01 12:00:01", camera="X2"),
    ]
    first = "2024-05-01T12:00:00.000 Maker X1"
    assert groups.time_groups(captures, 5) == [
        *(first, first, "2024-05-01T12:00:10.500 Maker X1"),
        *(None, "2024-05-01T12:00:01.000 Maker X2"),
    ]


def test_time_groups_keep_their_names_when_later_photos_come() -> None:
    captures = [captured(f"2024:05:{day:02} 12:00:{second:02}") for day in range(1, 20) for second in (0, 3)]
    before = groups.time_groups(captures[:20], 60)
    assert groups.time_groups(captures, 60)[:20] == before


def test_group_by_time_gap_on_a_folder(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "burst"
    for number in range(60):
        content = photo_taken(f"2024:05:01 12:{number // 4:02}:0{number % 4}")
        put(root / "ab"[(number // 4) % 2] / f"{number}.jpg", content)
    tensors = tensors_of(root, workspace, group_by="time-gap=10")
    rows = rows_of(tensors)
    assert rows["group"].nunique() == 15 == sum(tensors.groups)
    assert rows.groupby("group")["split"].nunique().max() == 1


def test_three_patients_are_too_few_and_the_error_says_what_to_do(
    tmp_path: Path, workspace: Workspace
) -> None:
    root = patient_folder(tmp_path / "scans", patients=4, images=10)
    for path in (root / "a").glob("p002_*.png"):  # the only one of val, by the hash of the name
        path.unlink()
    with pytest.raises(DataError, match="scans has too few groups: none for") as raised:
        tensors_of(root, workspace, group_by=r"(p\d+)_")
    assert "3 groups: p000 (10 images), p001 (10 images), p003 (10 images)" in str(raised.value)
    assert "put whole groups into folders train, val and test" in str(raised.value)


def test_groups_that_share_an_image_are_joined_and_named(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    root = patient_folder(tmp_path / "scans")
    put(root / "a" / "p002_77.png", (root / "a" / "p004_00.png").read_bytes())
    with caplog.at_level(logging.WARNING, "plumbline"):
        tensors = tensors_of(root, workspace, group_by=r"(p\d+)_")
    assert "groups that share an image are one group: p002, p004" in caplog.text
    rows = rows_of(tensors).set_index("path")
    assert rows.loc["a/p004_03.png", "group"] == "p002"
    assert sum(tensors.groups) == 19


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<html>404 Not Found</html>", id="page"),
        pytest.param(encoded(noise(1, 8, 8))[:60], id="cut"),
    ],
)
def test_groups_that_share_a_broken_file_are_not_joined(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """As a server's error page under the name of an image of each patient, which left one group."""
    root = patient_folder(tmp_path / "scans")
    for patient in range(0, 20, 2):
        put(root / "a" / f"p{patient:03}_77.png", content)
    with caplog.at_level(logging.WARNING, "plumbline"):
        tensors = tensors_of(root, workspace, group_by=r"(p\d+)_", max_quarantine=0.2)
    assert "share an image" not in caplog.text
    assert (sum(tensors.groups), tensors.quarantined) == (20, 10)
