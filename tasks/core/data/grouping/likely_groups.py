"""Signs of groups in data that have none: names of files, folders, and times that several images share.

They are signs only: nobody but the user knows whether `p012` is a patient. Each is reported where images of
one likely group are in test and in train or val, with the option that would keep them together.
"""

import posixpath
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pyarrow as pa

from tasks.core import shares
from tasks.core.data.grouping import capture_time
from tasks.core.data.grouping.pattern import pattern_groups
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace

# A name such as p012_03: a stem, a separator, perhaps a word, and a number of up to five digits. A longer one
# is a time or an id.
NUMBERED = re.compile(r"(?P<stem>.+)(?P<separator>[_\-. ]\(?)(?P<word>[A-Za-z]{0,8})(?P<number>\d{1,5})\)?")
OF_CHAT = re.compile(r"(IMG|VID)-\d{8}-WA\d+")  # names that WhatsApp gives, a number for each day
# What tools for augmentation add to the name of a picture: Roboflow and Augmentor.
VERSION = re.compile(r"([^/]+)(\.rf\.|\.\w{3,4}_)[0-9a-f-]{32,36}\.\w+$")
LEAST_SHARE = 0.5  # of the images whose name or folder others share, for it to be a sign
LEAST_STEMS = 3  # in a class, in most classes; a single one is the class itself or the camera
LEAST_WORDS = 10  # of stems without a digit: IMG, DSC and PXL are few
AGREEMENT = 0.95  # share of the images that a regular expression must group as their stems do
OF_FILES = ("folder", "archive", "csv")  # formats whose paths are those of image files
ON_DISK = ("folder", "csv")  # formats whose files' heads are quickly read
LOOKED_AT, MOST = 200, 20_000  # photos: without a time in the first ones, or after so many, the search ends


@dataclass(frozen=True)
class LikelyGroups:
    """A sign of groups.

    Args:
        groups: The likely group of each image; None for none.
        sign: What test images share with images of train or val, as the rest of a sentence.
        condition: When the option is the right one, as a clause.
        option: The value of `--group-by` that would keep them together.
    """

    groups: Sequence[str | None]
    sign: str
    condition: str
    option: str

    def sentence(self, splits: Sequence[str]) -> str:
        """The finding; empty if no likely group is on both sides of the test boundary.

        Args:
            splits: The split of each image.
        """
        learnt = {
            group for group, split in zip(self.groups, splits, strict=True) if group and split != "test"
        }
        tested = [group for group, split in zip(self.groups, splits, strict=True) if split == "test"]
        count = sum(group in learnt for group in tested)
        if not count:
            return ""
        return (
            f"{count:,} of {shares.counted(len(tested), 'test image')} {self.sign}; {self.condition}, add "
            f"--group-by {shlex.quote(self.option)}"
        )


def findings(rows: pa.Table, raw: RawDataset | None) -> list[str]:
    """One sentence for each sign of groups on both sides.

    Args:
        rows: Columns `path`, `split` and `class_name` of the table of rows.
        raw: The source, for the times of photos; None to look at names only.
    """
    if raw is not None and raw.format not in OF_FILES:
        return []
    paths, splits, classes = (rows[name].to_pylist() for name in ("path", "split", "class_name"))
    signs = [by_name(paths, classes), by_version(paths, classes), by_folder(paths, classes)]
    signs.append(by_time(paths, raw) if raw else None)
    return [sentence for sign in signs if sign and (sentence := sign.sentence(splits))]


def by_name(paths: Sequence[str], classes: Sequence[str]) -> LikelyGroups | None:
    """Groups by the stems of numbered names, such as p012 of p012_03.png."""
    # `Path(path).stem` would take 0.7 of 0.9 CPU-seconds for 60,000 paths.
    names = [_numbered(posixpath.splitext(posixpath.basename(path))[0]) for path in paths]
    numbers = defaultdict(set)
    for name in filter(None, names):
        numbers[name["stem"]].add(name["number"])
    shared = {stem for stem, of_stem in numbers.items() if len(of_stem) > 1}
    if sum(not re.search(r"\d", stem) for stem in shared) < LEAST_WORDS:
        shared = {stem for stem in shared if re.search(r"\d", stem)}
    stems = [name["stem"] if name and name["stem"] in shared else None for name in names]
    if not _is_sign(stems, classes):
        return None
    matches = [name for name, stem in zip(names, stems, strict=True) if name and stem]
    pattern = _pattern(matches, paths, stems)
    example = Path(next(path for path, stem in zip(paths, stems, strict=True) if stem)).name
    sign = f"have names of series that train or val have images of, too (such as {example})"
    return LikelyGroups(stems, sign, "if a series is one subject", pattern) if pattern else None


def by_version(paths: Sequence[str], classes: Sequence[str]) -> LikelyGroups | None:
    """Groups of the versions that a tool for augmentation has made of one picture."""
    sources = [found[1] if (found := VERSION.search(path)) else None for path in paths]
    counts = Counter(sources)
    sources = [source if counts[source] > 1 else None for source in sources]
    if not _is_sign(sources, classes):
        return None
    sign = "are versions of pictures that train or val have versions of, too, by their names"
    return LikelyGroups(sources, sign, "to keep them together", VERSION.pattern)


def _numbered(name: str) -> re.Match[str] | None:
    return None if OF_CHAT.fullmatch(name) else NUMBERED.fullmatch(name)


def by_folder(paths: Sequence[str], classes: Sequence[str]) -> LikelyGroups | None:
    """Groups by the folders below the class folders."""
    folders = [_below_class(path, name) for path, name in zip(paths, classes, strict=True)]
    counts = Counter(folders)
    folders = [folder if folder and counts[folder] > 1 else None for folder in folders]
    if not _is_sign(folders, classes):
        return None
    sign = "share a folder below their class with images in train or val"
    return LikelyGroups(folders, sign, "if a folder is one subject", "folder")


def by_time(paths: Sequence[str], raw: RawDataset) -> LikelyGroups | None:
    """Groups by the camera and the second in which photos were taken; the first `MOST` are looked at."""
    if raw.format not in ON_DISK:
        return None
    root = Workspace.active().root / raw.root
    seconds: dict[str, str] = {}
    for number, path in enumerate(sorted(paths)[:MOST]):
        if number == LOOKED_AT and not seconds:
            return None
        if capture := _capture(root / path):
            seconds[path] = f"{capture.camera} {capture.time.isoformat(timespec='seconds')}"
    counts = Counter(seconds.values())
    groups = [seconds[path] if path in seconds and counts[seconds[path]] > 1 else None for path in paths]
    sign = "were taken in the same second by the same camera as images in train or val"
    return LikelyGroups(groups, sign, "to keep bursts together", "time-gap=1")


def _is_sign(groups: Sequence[str | None], classes: Sequence[str]) -> bool:
    """Whether most images share a likely group with others, and most classes have several of these."""
    by_class: Mapping[str, set[str]] = {name: set() for name in classes}
    for group, name in zip(groups, classes, strict=True):
        if group:
            by_class[name].add(group)
    share = sum(group is not None for group in groups) / max(1, len(groups))
    return share >= LEAST_SHARE and median(map(len, by_class.values())) >= LEAST_STEMS


def _pattern(names: Sequence[re.Match[str]], paths: Sequence[str], stems: Sequence[str | None]) -> str:
    """The shortest regular expression that groups the images as their stems do; empty if none does."""
    separator, word = (_one_of(name[part] for name in names) for part in ("separator", "word"))
    separator, word = separator or r"[_\-. ]", "[A-Za-z]*" if word is None else word
    shape = Counter(_shape(name["stem"]) for name in names).most_common(1)[0][0]
    series = rf"{separator}{word}\d+"
    for pattern in (f"({shape}){series}", rf"([^/]+){series}\.\w+$"):
        found = pattern_groups(paths, re.compile(pattern))
        agree = sum(one == stem for one, stem in zip(found, stems, strict=True) if stem)
        if agree >= AGREEMENT * len(names):
            return pattern
    return ""


def _one_of(texts: Iterable[str]) -> str | None:
    """The text, escaped, if all are the same."""
    different = set(texts)
    return re.escape(different.pop()) if len(different) == 1 else None


def _shape(stem: str) -> str:
    r"""A stem as a regular expression for its numbers.

    >>> _shape("p012")
    'p\\d+'
    """
    return r"\d+".join(map(re.escape, re.split(r"\d+", stem)))


def _below_class(path: str, class_name: str) -> str | None:
    """The folders between an image and its class folder, which is the first or second of its path."""
    parts = path.split("/")[:-1]
    start = next((place for place, part in enumerate(parts[:2], 1) if part == class_name), len(parts))
    return "/".join(parts[start:]) or None


def _capture(path: Path) -> capture_time.Capture | None:
    try:
        with path.open("rb") as file:
            return capture_time.read(file)
    except OSError:
        return None
