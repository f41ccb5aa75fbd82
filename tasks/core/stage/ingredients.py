"""Ingredients: everything that decides a stage's output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.stage import code_hash
from tasks.core.storage import hashing

FORMAT = 2  # raise it when files on disk are renamed: every stage then runs once more
EARLIER_VERSION = "it was made by an earlier version of Plumbline"
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


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return which ingredients differ between two records, each as a short phrase.

    A change of the recipe's name stands for the parameters that only one of the two recipes has.

    >>> changes({"parameters": {"learning_rate": 0.4}}, {"parameters": {"learning_rate": 0.2}})
    ['learning_rate 0.4 -> 0.2']
    >>> changes({"parameters": {"name": "probe"}}, {"parameters": {"name": "finetune", "epochs": 5}})
    ['name probe -> finetune']
    """
    if old.get("format") != new.get("format"):
        return [EARLIER_VERSION]
    phrases: list[str] = []
    modules: list[str] = []
    renamed = old.get("name") != new.get("name")
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after or (renamed and (name not in old or name not in new)):
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            phrases += changes(before, after, "" if name == "parameters" else f"{name} ")
        elif prefix == "inputs ":
            phrases.append(f"{name} changed")
        elif prefix == "code ":
            modules.append(name)
        else:
            phrases.append(f"{prefix if prefix != 'libraries ' else ''}{name} {before} -> {after}")
    if modules:
        more = (
            f" and {len(modules) - MAX_NAMED_MODULES} more modules"
            if len(modules) > MAX_NAMED_MODULES
            else ""
        )
        phrases.append(f"code of {', '.join(modules[:MAX_NAMED_MODULES])}{more} changed")
    return phrases
