import hashlib
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest

from tasks.core.data.readers.base import ImageIndex, ImageRef
from tasks.core.data.tensors import splits
from tasks.core.data.tensors.cache import SPLITS
from tasks.core.data.tensors.splits import Splits


def row(number: int, split: str = "", label: int = 0, path: str = "") -> ImageRef:
    return ImageRef(hashlib.sha256(str(number).encode()).hexdigest(), path or f"{number}.png", split, label)


def members(rows: list[ImageRef], val_fraction: float = 0.1) -> dict[str, set[str]]:
    assigned = Splits.of(ImageIndex.of(rows), val_fraction)
    return {split: {rows[number].path for number in numbers} for split, numbers in assigned.numbers.items()}


def test_splits_growing_folder_moves_no_image() -> None:
    before = members([row(number) for number in range(500)])
    after = members([row(number) for number in range(5000)])
    for split in before:
        assert before[split] <= after[split]


def test_splits_new_images_keep_the_order_of_old_ones() -> None:
    old, new = [row(n) for n in range(200)], [row(n) for n in range(400)]
    kept = [new[n].path for n in Splits.of(ImageIndex.of(new), 0.1).numbers["train"] if n < 200]
    assert kept == [old[n].path for n in Splits.of(ImageIndex.of(old), 0.1).numbers["train"]]


def test_splits_exact_copies_share_a_split() -> None:
    rows = [row(number, path=f"{copy}/{number}.png") for number in range(1000) for copy in "ab"]
    for paths in members(rows, 0.5).values():
        copies = [{path[2:] for path in paths if path[0] == copy} for copy in "ab"]
        assert copies[0] == copies[1]


def test_splits_fractions_are_as_requested() -> None:
    """Within four standard deviations of the binomial distribution: sqrt(n p (1 - p))."""
    n = 20_000
    sizes = {split: len(paths) for split, paths in members([row(k) for k in range(n)], 0.25).items()}
    assert abs(sizes["test"] - 0.2 * n) < 4 * sqrt(n * 0.2 * 0.8)
    assert abs(sizes["val"] - 0.8 * 0.25 * n) < 4 * sqrt(n * 0.2 * 0.8)  # val is taken from what is left
    assert sum(sizes.values()) == n


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_choose_split_keeps_the_source_splits(split: str) -> None:
    has = frozenset({"train", "val", "test"})
    ids = [row(n).image_id for n in range(100)]
    assert (splits.choose_splits(ids, np.full(100, split), has, 0.5) == SPLITS.index(split)).all()


def test_fraction_is_the_first_48_bits_of_a_sha256() -> None:
    """The same numbers since the first version: another one would move images between splits."""
    digest = hashlib.sha256(b"plumbline test:abc").hexdigest()
    assert splits.fraction("plumbline test", "abc") == int(digest[:12], 16) / 2**48


def test_splits_only_missing_splits_are_taken_from_train() -> None:
    rows = [row(n, "test" if n < 100 else "train") for n in range(1000)]
    paths = members(rows, 0.2)
    assert paths["test"] == {f"{n}.png" for n in range(100)}
    assert 100 < len(paths["val"]) < 260  # 900 * 0.2 = 180


def test_splits_order_is_random_with_respect_to_class() -> None:
    """Sorted by class there are 2 runs of equal labels; at random about n / 2 (Wald, Wolfowitz, 1940)."""
    rows = [row(n, "train", label=int(n >= 500)) for n in range(1000)]
    labels = [rows[n].label for n in Splits.of(ImageIndex.of(rows), 0.1).numbers["train"]]
    runs = 1 + sum(a != b for a, b in pairwise(labels))
    assert abs(runs - len(labels) / 2) < 4 * sqrt(len(labels)) / 2


def test_splits_copies_are_in_the_order_of_their_paths() -> None:
    """As text: 10 comes before 9."""
    rows = [row(number, "train", path=f"{copy}.png") for copy in (9, 10, 1) for number in range(50)]
    order = [rows[n] for n in Splits.of(ImageIndex.of(rows), 0).numbers["train"]]
    assert len({image.image_id for image in order[:3]}) == 1
    assert [image.path for image in order] == ["1.png", "10.png", "9.png"] * (len(order) // 3)


def test_split_and_row_and_without() -> None:
    numbers = {"train": [4, 2, 0], "val": [1], "test": [3]}
    assigned = Splits({split: np.array(members) for split, members in numbers.items()})
    split, row_in_split = assigned.split_and_row(6)
    assert split.tolist() == [0, 1, 0, 2, 0, -1]  # of train, val, test
    assert row_in_split.tolist() == [2, 0, 1, 0, 0, -1]
    remaining = {split: members.tolist() for split, members in assigned.without([2, 3]).numbers.items()}
    assert remaining == {"train": [4, 0], "val": [1], "test": []}
