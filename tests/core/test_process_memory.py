"""Collections pause in a block, frozen objects stay alive, and freed memory goes back to the system."""

import gc
import platform
import subprocess
import sys
import weakref

import pytest

from tasks.core import process_memory

CODE = """
import re
from pathlib import Path
from tasks.core import process_memory

def resident():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

process_memory.share_heaps()
before = resident()
blocks = [bytes(1000) for _ in range(50_000)]  # 50 MB
last = bytes(1000)
full = resident()
del blocks
process_memory.give_back()
print(full - before, resident() - before)
"""


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
    monkeypatch.setattr(process_memory, "_frozen", False)  # a command in this process may have set it
    with process_memory.paused_collections():
        with process_memory.paused_collections():
            garbage = cycle()
        assert not gc.isenabled()
    with pytest.raises(ValueError, match="inside"), process_memory.paused_collections():
        raise ValueError("inside")
    assert gc.isenabled()
    gc.collect()
    assert garbage() is None


def test_a_command_freezes_what_its_imports_made() -> None:
    """Once frozen, later blocks of the process freeze, too."""
    code = (
        "import gc; from tasks.core.process_memory import paused_collections as paused\n"
        "with paused(): pass\n"
        "print(gc.get_freeze_count())\n"
        "with paused(freeze=True): pass\n"
        "first = gc.get_freeze_count(); kept = [[] for _ in range(500)]\n"
        "with paused(): pass\n"
        "print(first > 1000, gc.get_freeze_count() >= first + 500, gc.isenabled())\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["0", "True", "True", "True"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no malloc_trim")
def test_freed_memory_goes_back() -> None:
    printed = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    full, left = map(float, printed.split())
    assert full > 45
    assert left < 10
