"""Hides installed packages from libraries that import them only if they are there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Hidden:
    """A finder at the front of `sys.meta_path` for which some packages are not installed.

    Args:
        names: Top-level names, such as "pandas", or dotted ones.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Leave a name to the other finders, or refuse it.

        Raises:
            ModuleNotFoundError: The name is hidden.
        """
        if name in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Hide packages in the block. What is imported already stays."""
    finder = Hidden(names)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
