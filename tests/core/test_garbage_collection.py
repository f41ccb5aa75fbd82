"""Garbage collection is off in a block, on again after it, and frozen objects stay alive."""

import gc
import subprocess
import sys
import weakref

import pytest

from tasks.core import garbage_collection


class Node:
    """One that refers to itself is garbage that only a collection finds."""


def cycle() -> "weakref.ref[Node]":
    """A reference to garbage."""
    node = Node()
    node.itself = node  # type: ignore[attr-defined]
    return weakref.ref(node)


def test_the_block_is_not_disturbed_and_its_garbage_is_collected_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also after an error."""
    monkeypatch.setattr(garbage_collection, "_frozen", False)  # a command in this process may have set it
    with garbage_collection.paused():
        with garbage_collection.paused():
            garbage = cycle()
        assert not gc.isenabled()
    with pytest.raises(ValueError, match="inside"), garbage_collection.paused():
        raise ValueError("inside")
    assert gc.isenabled()
    gc.collect()
    assert garbage() is None


def test_a_command_freezes_what_its_imports_made() -> None:
    """Once frozen, later blocks of the process freeze, too."""
    code = (
        "import gc; from tasks.core.garbage_collection import paused\n"
        "with paused(): pass\n"
        "print(gc.get_freeze_count())\n"
        "with paused(freeze=True): pass\n"
        "first = gc.get_freeze_count(); kept = [[] for _ in range(500)]\n"
        "with paused(): pass\n"
        "print(first > 1000, gc.get_freeze_count() >= first + 500, gc.isenabled())\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["0", "True", "True", "True"]
