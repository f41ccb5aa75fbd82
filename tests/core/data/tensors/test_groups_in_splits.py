"""A group is in one split, decided by its name, while the folder grows."""

import hashlib
import re
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.data.grouping import joined_groups
from tasks.core.data.grouping.pattern import pattern_groups
from tasks.core.data.readers.base import ImageIndex, ImageRef
from tasks.core.data.tensors.splits import Splits
from tests.support.single_splits import split_of

PATIENT = re.compile(r"(p\d+)_\d+")
Places = dict[str, str]  # path -> split


def image_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def index_of(images: list[tuple[str, str, int]], split: str = "") -> ImageIndex:
    """Images by path, content and label, with the groups that their paths have."""
    index = ImageIndex.of(ImageRef(image_id(content), path, split, label) for path, content, label in images)
    groups = pattern_groups(index.path.to_pylist(), PATIENT)
    return index.with_columns({"group": pa.chunked_array([pa.array(groups, pa.string())])})


def places(index: ImageIndex, val_fraction: float = 0.1) -> Places:
    paths = index.path.to_pylist()
    numbers = Splits.of(index, val_fraction).numbers
    return {paths[number]: split for split, members in numbers.items() for number in members}


def by_patient(found: Places) -> dict[str, set[str]]:
    splits = defaultdict(set)
    for path, split in found.items():
        splits[PATIENT.search(path)[1]].add(split)
    return splits


def patients(seed: int, first: int, count: int) -> list[tuple[str, str, int]]:
    """Some images each, of one class or, one in four, of two."""
    random = np.random.default_rng(seed)
    images = []
    for patient in range(first, first + count):
        classes = random.permutation(3)[: 1 + (patient % 4 == 0)].tolist()
        for number in range(int(random.integers(1, 9))):
            label = classes[number % len(classes)]
            path = f"{'abc'[label]}/p{patient:03}_{number:02}.png"
            images.append((path, path, label))
    return images


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_no_patient_is_on_both_sides_and_none_moves_out_of_train_in_ten_growths(seed: int) -> None:
    """From 24 patients on, so that each class has the five that the floor needs."""
    images = patients(seed, 0, 24)
    before = places(index_of(images))
    for growth in range(1, 11):
        images += patients(100 * seed + growth, 24 * growth, 24)
        images += [(f"a/p{growth:03}_9{growth}.png", f"new {growth}", 0)]  # one more of an old patient
        after = places(index_of(images))
        assert all(len(splits) == 1 for splits in by_patient(after).values())
        assert {after[path] for path in before if after[path] != before[path]} <= {"train"}
        before = after
    assert set(before.values()) == {"train", "val", "test"}


def test_split_of_a_group_is_that_of_the_hash_of_its_name() -> None:
    """The first 48 bits of SHA-256 of salt and name, as a share of 2^48: below 0.2 is test."""
    images = [(f"{'ab'[n % 2]}/p{n}_{k}.png", f"{n} {k}", n % 2) for n in range(200) for k in range(3)]
    for name, splits in by_patient(places(index_of(images), 0.1)).items():
        shares = []
        for salt in ("plumbline test", "plumbline val"):
            digest = hashlib.sha256(f"{salt}:group {name}".encode()).hexdigest()
            shares.append(int(digest[:12], 16) / 2**48)
        assert splits == {"test" if shares[0] < 0.2 else "val" if shares[1] < 0.1 else "train"}


def test_images_without_a_group_stay_where_they_are_without_groups() -> None:
    """Beside groups: 300 images whose path has no patient."""
    alone = [(f"a/x{n}.png", f"x{n}", n % 2) for n in range(300)]
    plain = ImageIndex.of(ImageRef(image_id(content), path, "", label) for path, content, label in alone)
    expected = places(plain)
    found = places(index_of(alone + patients(1, 0, 40)))
    assert {path: found[path] for path in expected} == expected


def test_empty_files_join_no_groups() -> None:
    """Two patients with a failed download each are two patients; a real copy still joins p3 and p4."""
    shared = {"p1": ["x", ""], "p2": ["y", ""], "p3": ["z", "w"], "p4": ["w"]}
    images = [(f"a/{name}_{k}.png", c, 0) for name, cs in shared.items() for k, c in enumerate(cs)]
    joined = joined_groups.join(index_of([*images, ("a/alone.png", "", 0)]))
    assert joined.names == (("p3", "p4"),)
    assert joined.group.to_pylist() == ["p1", "p1", "p2", "p2", "p3", "p3", "p3", None]


def test_groups_that_share_an_image_are_one_and_move_towards_train_only() -> None:
    """p1 and p2 share an image, and p2 and p3: one group by the name p1, in train if one of them is."""
    shared = {"p1": ["x", "y"], "p2": ["x", "z"], "p3": ["z"], "p4": ["w"]}
    images = [(f"a/{name}_{k}.png", c, 0) for name, cs in shared.items() for k, c in enumerate(cs)]
    images += [("a/alone.png", "y", 0)]  # a copy of an image of p1
    joined = joined_groups.join(index_of(images))
    assert joined.group.to_pylist() == ["p1"] * 5 + ["p4", "p1"]
    assert joined.names == (("p1", "p2", "p3"),)
    found = places(index_of(images))
    single = [split_of(f"group {name}", 0.1) for name in ("p1", "p2", "p3")]
    single.append(split_of(image_id("y"), 0.1))
    expected = next(split for split in ("train", "val", "test") if split in single)
    assert {found[path] for path, _, _ in images if "p4" not in path} == {expected}


def test_floor_moves_whole_groups_or_none() -> None:
    """Every class of five patients or more that are all train by their names, at two images each."""
    names = [n for n in range(400) if split_of(f"group p{n}", 0.1) == "train"][:60]
    lacking = 0
    for start in range(0, 60, 6):
        six = names[start : start + 6]
        images = [(f"a/p{n}_{k}.png", f"{n} {k}", 0) for n in six for k in range(2)]
        splits = by_patient(places(index_of(images)))
        assert all(len(of_one) == 1 for of_one in splits.values())
        counts = [sum(of_one == {split} for of_one in splits.values()) for split in ("val", "test")]
        assert max(counts) <= 1
        lacking += 2 - sum(counts)
    assert lacking <= 4  # 20 choices; each has no group in its half with a chance of 1/64
    four = [(f"a/p{n}_{k}.png", f"{n} {k}", 0) for n in names[:4] for k in range(9)]
    assert set(places(index_of(four)).values()) == {"train"}


def test_source_splits_are_kept_though_a_group_is_in_two() -> None:
    images = [("test/a/p1_0.png", "0", 0), ("train/a/p1_1.png", "1", 0), ("train/b/p2_1.png", "2", 1)]
    index = index_of(images)
    index = type(index)(
        index.image_id, index.path, np.array(["test", "train", "train"]), index.label, index.group
    )
    found = places(index, 0.5)
    assert found["test/a/p1_0.png"] == "test"
    assert "test" not in {found[path] for path, _, _ in images[1:]}
