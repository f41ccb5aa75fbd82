"""Which images belong together: groups of the data, and duplicates."""

import numpy as np
import pyarrow.parquet as pq

from tasks.core.data.cross_validation import images
from tasks.core.data.cross_validation.resplit import resplit
from tests.support.fake_outputs import FakeOutputs


def test_duplicates_are_in_one_group(fake: FakeOutputs) -> None:
    """The fake audit has two pairs: train 0 with test 1, and val 0 with val 1."""
    tensors = fake.tensors()
    read = images.read(tensors, fake.audit())
    assert len(read) == tensors.train + tensors.val + tensors.test
    first_val, first_test = tensors.train, tensors.train + tensors.val
    assert read.groups[0] == read.groups[first_test + 1]
    assert read.groups[first_val] == read.groups[first_val + 1]
    assert read.group_count == len(read) - 2
    assert read.dependent
    assert not read.grouped
    splits = read.table["split"].to_pylist()
    assert (splits[0], splits[first_val], splits[first_test]) == ("train", "val", "test")


def test_groups_are_joined_by_a_duplicate() -> None:
    named = np.array([0, 0, 1, 1, 2, 3, 4, 5, 6, 7])
    groups, chained = images.join(named, 10, np.array([[1, 2]]), np.array([True]))
    assert len(set(groups[:4])) == 1
    assert len(set(groups)) == 7
    assert (
        chained
    )  # four of ten images: more than any group and than a tenth, so only exact copies are joined


def test_chains_of_near_duplicates_are_not_joined() -> None:
    chain = np.array([[number, number + 1] for number in range(50)])
    groups, chained = images.join(None, 100, chain, np.arange(50) == 3)
    assert chained
    assert groups[3] == groups[4]
    assert len(set(groups)) == 99


def test_groups_of_the_rows_are_read(fake: FakeOutputs) -> None:
    """A null in the column is an image of its own."""
    tensors, audit = fake.tensors(), fake.audit()
    count = tensors.train + tensors.val + tensors.test
    path = tensors.directory / "rows.parquet"
    rows = pq.read_table(path).to_pandas()
    rows["group"] = [None if number % 3 == 0 else f"p{number % 7}" for number in range(count)]
    rows.to_parquet(path, index=False)
    read = images.read(tensors, audit)
    assert read.grouped
    names = rows["group"].to_numpy()  # written in the order train, val, test
    for number in (1, 2):
        same = np.flatnonzero(names == names[number])
        assert len(set(read.groups[same])) == 1


def test_resplit_has_the_images_of_its_positions(fake: FakeOutputs, workspace) -> None:
    tensors = fake.tensors()
    whole = np.concatenate(
        [np.load(tensors.directory / f"{name}.images.npy") for name in ("train", "val", "test")]
    )
    labels = np.concatenate(
        [np.load(tensors.directory / f"{name}.labels.npy") for name in ("train", "val", "test")]
    )
    order = np.random.default_rng(0).permutation(len(whole))
    positions = {"train": np.sort(order[:300]), "val": np.sort(order[300:350]), "test": np.sort(order[350:])}
    made = resplit(tensors, positions, workspace)
    assert (made.train, made.val, made.test) == (300, 50, len(whole) - 350)
    table = images.read(tensors, fake.audit()).table.to_pandas()
    for split, chosen in positions.items():
        np.testing.assert_array_equal(np.load(made.directory / f"{split}.images.npy"), whole[chosen])
        np.testing.assert_array_equal(np.load(made.directory / f"{split}.labels.npy"), labels[chosen])
        rows = pq.read_table(made.directory / "rows.parquet").to_pandas()
        of_split = rows[rows["split"] == split].sort_values("row")
        assert of_split["row"].tolist() == list(range(len(chosen)))
        assert of_split["image_id"].tolist() == table["image_id"].iloc[chosen].tolist()
