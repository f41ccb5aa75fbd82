"""Signs of groups in file names, folders and times; and names that are no sign."""

import re
from collections.abc import Callable

import pytest

from tasks.core.data.grouping import likely_groups
from tasks.core.data.grouping.likely_groups import LikelyGroups
from tasks.core.data.grouping.pattern import pattern_groups


def signs(name: Callable[[int], str], images: int = 200) -> LikelyGroups | None:
    """The sign in the names of as many images of two classes."""
    classes = ["ab"[number % 2] for number in range(images)]
    return likely_groups.by_name([f"{label}/{name(number)}" for number, label in enumerate(classes)], classes)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        pytest.param(lambda n: f"p{n // 8:03}_{n % 8:02}.png", r"(p\d+)_\d+", id="patient"),
        pytest.param(lambda n: f"patient{n // 8}-slice{n % 8}.jpg", r"(patient\d+)\-slice\d+", id="slice"),
        pytest.param(lambda n: f"{n // 8}_{n % 8}.png", r"(\d+)_\d+", id="numbers"),
        pytest.param(lambda n: f"site2_p{n // 8}_v1_{n % 8}.png", r"(site\d+_p\d+_v\d+)_\d+", id="three"),
        pytest.param(
            lambda n: f"{'abcdefghijklmnop'[n // 16]}x_{n % 16}.png", r"([^/]+)_\d+\.\w+$", id="words"
        ),
        pytest.param(lambda n: f"item{n // 5} ({n % 5 + 1}).jpg", r"(item\d+)\ \(\d+", id="renamed"),
        pytest.param(lambda n: f"img{n // 4}_rot{90 * (n % 4)}.png", r"(img\d+)_rot\d+", id="augmented"),
    ],
)
def test_by_name_finds_series_and_the_regular_expression_for_them(
    name: Callable[[int], str], option: str
) -> None:
    assert signs(name).option == option


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(lambda n: f"IMG_{n:04}.jpg", id="camera"),
        pytest.param(lambda n: f"{('IMG', 'DSC', 'PXL', 'DJI')[n % 4]}_{n:04}.jpg", id="cameras"),
        pytest.param(lambda n: f"{'ab'[n % 2]}_{n}.jpg", id="class"),
        pytest.param(lambda n: f"IMG-202401{n // 8 + 1:02}-WA{n % 8:04}.jpg", id="chat"),
        pytest.param(lambda n: f"scan ({n}).png", id="renamed"),
        pytest.param(lambda n: f"n0208562{n % 2}_{n}.jpg", id="class number"),
        pytest.param(lambda n: f"{n}.png", id="number"),
        pytest.param(lambda n: f"PXL_20240101_{120000 + n}.jpg", id="time"),
        pytest.param(lambda n: f"{n * 7919}_e6dd915111_n.jpg", id="photo site"),
        pytest.param(lambda n: f"p{n}_1.png" if n % 3 else f"q{n // 9}_{n}.png", id="mostly single"),
    ],
)
def test_by_name_takes_no_camera_class_or_time_for_a_group(name: Callable[[int], str]) -> None:
    assert signs(name) is None


@pytest.mark.parametrize("name", ["IMG_{}_jpg.rf.{}.jpg", "a_original_IMG_{}.jpg_{}.jpg"])
def test_by_version_finds_what_augmentation_has_made_of_one_picture(name: str) -> None:
    classes = ["ab"[number % 2] for number in range(80)]
    paths = [f"{label}/{name.format(n // 4, f'{n:032x}')}" for n, label in enumerate(classes)]
    found = likely_groups.by_version(paths, classes)
    assert len(set(found.groups)) == 20
    assert pattern_groups(paths, re.compile(found.option)) == found.groups
    single = [path.replace("_", f"{n}_", 1) for n, path in enumerate(paths)]
    assert likely_groups.by_version(single, classes) is None


def test_by_folder_finds_folders_below_the_class() -> None:
    classes = ["ab"[number % 2] for number in range(80)]
    paths = [f"train/{label}/case {n // 8}/{n}.png" for n, label in enumerate(classes)]
    assert likely_groups.by_folder(paths, classes).groups[9] == "case 1"
    assert likely_groups.by_folder([path.replace("case", "b/") for path in paths], classes).option == "folder"
    assert likely_groups.by_folder([f"{label}/{n}.png" for n, label in enumerate(classes)], classes) is None


def test_sentence_counts_test_images_whose_group_is_elsewhere() -> None:
    """Of three test images, two are of groups of train or val; the third has none."""
    likely = LikelyGroups(["p1", "p1", "p2", "p2", None], "are like others", "if so", r"(p\d+)_\d+")
    assert likely.sentence(["train", "test", "val", "test", "test"]) == (
        r"2 of 3 test images are like others; if so, add --group-by '(p\d+)_\d+'"
    )
    assert likely.sentence(["train", "train", "test", "test", "test"]) == ""
