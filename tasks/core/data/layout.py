"""Which images make up each split, in which order."""

from collections.abc import Collection
from dataclasses import dataclass

from tasks.core.data import splits
from tasks.core.data.cache import SPLITS
from tasks.core.data.reader import Row


@dataclass(frozen=True)
class Layout:
    """Numbers of the source's images by split, in their final order."""

    splits: dict[str, list[int]]

    @classmethod
    def of(cls, rows: list[Row], val_fraction: float) -> "Layout":
        """Split and order `rows` by their content."""
        has = frozenset(row.split for row in rows)
        members: dict[str, list[int]] = {split: [] for split in SPLITS}
        for number, row in enumerate(rows):
            members[splits.choose(row.identity, row.split, has, val_fraction)].append(number)
        for numbers in members.values():
            numbers.sort(key=lambda number: splits.order(rows[number].identity, rows[number].path))
        return cls(members)

    def places(self) -> dict[int, tuple[str, int]]:
        """Split and row by number."""
        return {
            number: (split, row)
            for split, numbers in self.splits.items()
            for row, number in enumerate(numbers)
        }

    def without(self, gone: Collection[int]) -> "Layout":
        """The layout when some numbers are left out."""
        left_out = set(gone)
        return Layout(
            {
                split: [number for number in numbers if number not in left_out]
                for split, numbers in self.splits.items()
            }
        )
