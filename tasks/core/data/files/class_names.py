"""Class names: their order, and checks. Classes are matched by name; every split must have the same ones."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal

from tasks.core.errors import DataError

WHOLE = re.compile(r"[0-9]+")
NUMBER = re.compile(r"[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[-+]?[0-9]{1,3})?")
MISSING = frozenset({"nan", "null", "n/a", "#n/a", "<na>"})  # not "none": it may be the class without a find
SEPARATORS = re.compile(r"[\s_-]+")
_any: ContextVar[bool] = ContextVar("any_classes", default=False)


@contextmanager
def any_classes() -> Iterator[None]:
    """Context manager in which one class is enough, and splits may have different classes, or none be train.

    Training needs two classes in every split. What a trained model is evaluated on does not.
    """
    token = _any.set(True)
    try:
        yield
    finally:
        _any.reset(token)


def are_any() -> bool:
    """Whether this is within `any_classes`."""
    return _any.get()


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """The names in the order of their labels: by number where all are whole numbers, else by text.

    >>> ordered(["10", "2", "0"]), ordered(["10", "2", "a"])
    (('0', '2', '10'), ('10', '2', 'a'))
    """
    by_text = sorted(names)
    if not all(map(WHOLE.fullmatch, by_text)):
        return tuple(by_text)
    return tuple(sorted(by_text, key=int))


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ only in case, blanks, the form of a number or Unicode's normal form.

    >>> alike(["Cat", "cat ", "dog", "1", "1.0", "-1"])
    [('1', '1.0'), ('Cat', 'cat ')]
    >>> alike(["9007199254740992", "9007199254740993"])
    []
    """
    groups: dict[str | Decimal, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_without_form(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _without_form(name: str) -> str | Decimal:
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    if NUMBER.fullmatch(text):
        return Decimal(text)  # a float has no more than 16 digits
    return SEPARATORS.sub(" ", text).strip()


def meaning_none(names: Iterable[str]) -> list[str]:
    """Names that tables write for a missing value.

    >>> meaning_none(["cat", "nan", "N/A", "none"])
    ['N/A', 'nan']
    """
    return sorted(name for name in names if name.strip().casefold() in MISSING)


def check_classes(source: str, classes: Mapping[str, Set[str]], expected: str) -> None:
    """Refuse splits with different classes, and fewer than two classes; in `any_classes`, no class at all.

    Args:
        source: The source's name, for the message.
        classes: Class names by split; the split is "" in a source without splits.
        expected: The layout that the source should have.

    Raises:
        DataError: The message names the classes that differ.
    """
    reference = classes.get("train", next(iter(classes.values()), set()))
    if are_any() and any(classes.values()):
        return
    if not classes:
        raise layout_error(source, "has no images", expected, "none", "add images, and a class for each")
    for split, names in classes.items():
        if not names and any(classes.values()):
            todo = "label them, or leave the split out"
            raise layout_error(source, f"has no labels in {split}", expected, "images without one", todo)
        if names != reference:
            only = {"train": reference - names, split: names - reference}
            found = "; ".join(
                f"only in {name}: {', '.join(sorted(few))}" for name, few in only.items() if few
            )
            todo = "add images of these classes, leave the classes out, or leave the split out"
            raise layout_error(source, f"has other classes in {split} than in train", expected, found, todo)
    if not reference:
        raise layout_error(source, "has no classes", expected, "none", "label the images")
    if len(reference) == 1:
        todo = "add images of a second class, such as of anything else"
        raise layout_error(source, "has only one class", expected, f"one: {next(iter(reference))}", todo)


def layout_error(source: str, what: str, expected: str, found: str, todo: str = "") -> DataError:
    """The error for a user's data in a wrong layout.

    Args:
        source: The path that the message starts with.
        what: What is wrong with it, as the predicate of a sentence.
        expected: The layout that it should have.
        found: What it has instead.
        todo: What to do.
    """
    done = "nothing was written, the data are unchanged"
    return DataError(f"{source} {what}", expected=expected, found=found, done=done, todo=todo)
