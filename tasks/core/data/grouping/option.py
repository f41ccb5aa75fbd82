"""The option `--group-by`: groups that follow from the images' paths, or from when they were taken.

folder: the folder that holds the image, below its class folder. An image directly in the class folder is its
own group, and folders of the same name in two classes are one group: a patient may have images of two
classes. Of a CSV it is the folder in its column `path`.

time-gap=SECONDS: images of one camera in the order of their time; a gap of more than so many seconds begins a
new group. The earliest time is the name of the group. So a later image leaves the name as it is. An image
that lies before all others of its group, or between two groups that it thereby joins, changes a name.

Anything else is a regular expression that is searched in the path: its group named `group`, else its first
group, else all that it matches.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core import shares
from tasks.core.data.grouping import capture_time
from tasks.core.data.grouping.capture_time import Capture
from tasks.core.data.grouping.pattern import Names, pattern_groups
from tasks.core.data.readers.base import ImageIndex, Reader, WrappedReader
from tasks.core.errors import DataError, UsageError

log = logging.getLogger("plumbline.data")

FOLDER, TIME_GAP = "folder", "time-gap="
CLASS_FOLDERS = ("folder", "archive")  # formats whose paths begin with a split, if any, and a class
EXPECTED = "folder, time-gap=SECONDS, or a regular expression such as '(p[0-9]+)_'"
SHOWN = 3  # paths that a message names


@dataclass(frozen=True)
class GroupBy:
    """A checked option.

    Args:
        text: As it was given.
        seconds: The gap; None for another kind.
        pattern: The regular expression; None for another kind.
    """

    text: str
    seconds: float | None = None
    pattern: re.Pattern[str] | None = None


def parse(text: str) -> GroupBy:
    """Check the option.

    Raises:
        UsageError: It has no seconds, or is not a regular expression.
    """
    if text == FOLDER:
        return GroupBy(text)
    if text.startswith(TIME_GAP) or text == TIME_GAP.rstrip("="):
        return GroupBy(text, seconds=_seconds(text))
    try:
        pattern = re.compile(text)
    except re.error as error:
        found = f"{text}: {error}"
        raise UsageError("--group-by is not a regular expression", expected=EXPECTED, found=found) from error
    if pattern.match(""):
        raise UsageError(
            "--group-by matches an empty text, so it cannot tell groups apart",
            expected=EXPECTED,
            found=repr(text),
        )
    return GroupBy(text, pattern=pattern)


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removeprefix(TIME_GAP))
    except ValueError:
        seconds = float("nan")
    if not 0 <= seconds < float("inf"):
        raise UsageError("--group-by time-gap needs a number of seconds", expected="time-gap=60", found=text)
    return seconds


class GroupedReader(WrappedReader):
    """A reader with the groups of the option in place of the source's own.

    Args:
        reader: The source.
        group_by: The option.
        format_name: The source's format, a key of `factory.READERS`.
    """

    def __init__(self, reader: Reader, group_by: GroupBy, format_name: str) -> None:
        self.reader, self.group_by, self.format_name = reader, group_by, format_name

    @classmethod
    def of(cls, reader: Reader, group_by: str | None, format_name: str) -> Reader:
        """Apply the option; without one, return the reader."""
        return cls(reader, parse(group_by), format_name) if group_by else reader

    def index(self) -> ImageIndex:
        """All images with their groups.

        Raises:
            DataError: No image has a group.
            UsageError: The source has no folders.
        """
        index = self.reader.index()
        if index.group is not None:
            log.warning("--group-by %s decides the groups; the column group is not used", self.group_by.text)
        names, lacking = self._names(index)
        _report(names, index, self.group_by.text, lacking)
        columns = {**index.attributes, "group": pa.chunked_array([pa.array(names, pa.string())])}
        return index.with_columns(columns)

    def _names(self, index: ImageIndex) -> tuple[Names, str]:
        """The group of each image, and what the images lack that have none."""
        if self.group_by.seconds is not None:
            captures = [
                None if file is None else _capture(file) for file in self.reader.files(range(len(index)))
            ]
            return time_groups(captures, self.group_by.seconds), "no time in EXIF"
        paths = index.path.to_pylist()
        if self.group_by.pattern is not None:
            return pattern_groups(paths, self.group_by.pattern), "a path that does not match"
        if self.format_name not in (*CLASS_FOLDERS, "csv"):
            raise UsageError(
                "--group-by folder needs images in folders",
                expected="a folder, an archive or a CSV",
                found=f"a dataset of the format {self.format_name}",
                todo="give parquet files a column group",
            )
        return self._folders(paths, index.split.tolist()), "no folder below the class"

    def _folders(self, paths: Sequence[str], splits: Sequence[str]) -> Names:
        below = self.format_name in CLASS_FOLDERS
        return [
            "/".join(path.split("/")[below * (1 + bool(split)) : -1]) or None
            for path, split in zip(paths, splits, strict=True)
        ]


def time_groups(captures: Sequence[Capture | None], seconds: float) -> Names:
    """The group of each image by its time: the earliest time of the group and the camera.

    Args:
        captures: Camera and time of each image; None where there is no time.
        seconds: A larger gap between two images of one camera begins a new group.
    """
    names: Names = [None] * len(captures)
    taken = sorted((capture, number) for number, capture in enumerate(captures) if capture is not None)
    last: Capture | None = None
    name = ""
    for capture, number in taken:
        if last is None or _is_apart(last, capture, seconds):
            name = _name(capture.camera, capture.time)
        names[number], last = name, capture
    return names


def _is_apart(last: Capture, capture: Capture, seconds: float) -> bool:
    return capture.camera != last.camera or capture.time - last.time > timedelta(seconds=seconds)


def _name(camera: str, time: datetime) -> str:
    return f"{time.isoformat(timespec='milliseconds')} {camera}".strip()


def _capture(file: IO[bytes]) -> Capture | None:
    with file:
        return capture_time.read(file)


def _report(names: Names, index: ImageIndex, option: str, lacking: str) -> None:
    """Say how many groups there are, and which images are groups of their own."""
    without = [number for number, name in enumerate(names) if name is None]
    shown = ", ".join(pc.take(index.path, pa.array(without[:SHOWN], pa.int64())).to_pylist())
    if len(without) == len(names):
        raise DataError(
            f"--group-by {option} finds no group",
            expected=EXPECTED,
            found=f"{lacking} in any of {shares.counted(len(names), 'image')}, such as {shown}",
            done="nothing was written",
        )
    log.info("--group-by %s: %s", option, shares.counted(len(set(names) - {None}), "group"))
    if without:
        log.warning(
            "--group-by %s: %s of %s images have %s, and each is a group of its own: %s%s",
            *(option, f"{len(without):,}", f"{len(names):,}", lacking, shown),
            ", ..." if len(without) > SHOWN else "",
        )
