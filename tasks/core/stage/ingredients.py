"""Ingredients: everything that decides a stage's output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.stage import code_hash
from tasks.core.storage import hashing

FORMAT = 2  # raise it when files on disk are renamed: every stage then runs once more
EARLIER_VERSION = "it was made by an earlier version of Plumbline"
CHANGED, NEW, LEFT_OUT = "changed", "is new", "is not read any more"  # what can be said of an input
MAX_NAMED_MODULES = 3  # changed modules that an explanation lists


@dataclass(frozen=True)
class Ingredients:
    """Everything that decides a stage's output. Its digest is the name of the output.

    Args:
        stage: The stage's name, such as "normalize".
        inputs: Digests of what the stage reads, by role.
        parameters: The parameters that the stage receives; JSON values.
        modules: Dotted names of the `tasks.core` modules that do the work.
        libraries: Distributions whose versions decide the output.
    """

    stage: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the ingredients as in the manifest, with hashes of modules and versions of libraries."""
        return {
            "stage": self.stage,
            "format": FORMAT,
            "inputs": dict(self.inputs),
            "parameters": dict(self.parameters),
            "code": code_hash.hashes(*self.modules),
            "libraries": code_hash.libraries(*self.libraries),
        }

    @property
    def digest(self) -> str:
        """16 hexadecimal digits (64 bits) of the SHA-256 of the canonical JSON of `record()`."""
        return hashing.digest_of(self.record())


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return which ingredients differ between two records, each as a short phrase.

    A change of the recipe's name stands for the parameters that only one of the two recipes has.

    >>> changes({"parameters": {"learning_rate": 0.4}}, {"parameters": {"learning_rate": 0.2}})
    ['learning_rate 0.4 -> 0.2']
    >>> changes({"parameters": {"name": "probe"}}, {"parameters": {"name": "finetune", "epochs": 5}})
    ['name probe -> finetune']
    >>> changes({"inputs": {"tensors": "a"}}, {"inputs": {"tensors": "b", "features": "c"}})
    ['features is new', 'tensors changed']
    """
    if old.get("format") != new.get("format"):
        return [EARLIER_VERSION]
    return [
        phrase for kind in sorted({*old, *new}) for phrase in _changes(kind, old.get(kind), new.get(kind))
    ]


def _changes(kind: str, old: Any, new: Any) -> list[str]:
    """The differences in ingredients of one kind: a field of `Ingredients.record`."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [] if old == new else [f"{kind} {_text(old)} -> {_text(new)}"]
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if kind == "inputs":
        return [_input_phrase(name, old, new) for name in names]
    if kind == "code":
        changed = [name for name in names if name in old and name in new]
        more, fewer = ([name for name in names if name not in side] for side in (old, new))
        return [
            *_modules("code of {} changed", changed),
            *_modules("code of {} is new", more),
            *_modules("code of {} is not used any more", fewer),
        ]
    return _value_phrases(names, old, new)


def _input_phrase(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    return f"{name} {CHANGED if name in old and name in new else NEW if name in new else LEFT_OUT}"


def _modules(phrase: str, names: list[str]) -> list[str]:
    """The phrase with the first names and the number of the others; no phrase for no names."""
    more = len(names) - MAX_NAMED_MODULES
    also = f" and {more} more module{'s' * (more > 1)}" if more > 0 else ""
    return [phrase.format(", ".join(names[:MAX_NAMED_MODULES]) + also)] if names else []


def _value_phrases(names: list[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Each name with its value before and after; a value that is a mapping by its own names."""
    phrases = []
    is_renamed = old.get("name") != new.get("name")
    for name in names:
        before, after = old.get(name), new.get(name)
        if is_renamed and (name not in old or name not in new):
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            phrases += [f"{name} {phrase}" for phrase in _changes("", before, after)]
        else:
            phrases.append(f"{name} {_text(before)} -> {_text(after)}")
    return phrases


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
