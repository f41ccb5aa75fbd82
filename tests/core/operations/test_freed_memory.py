"""Memory that was freed below memory in use goes back to the system."""

import platform
import subprocess
import sys

import pytest

CODE = """
import re
from pathlib import Path
from tasks.core.operations import freed_memory

def resident():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

freed_memory.share_heaps()
before = resident()
blocks = [bytes(1000) for _ in range(50_000)]  # 50 MB
last = bytes(1000)
full = resident()
del blocks
freed_memory.give_back()
print(full - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no malloc_trim")
def test_freed_memory_goes_back() -> None:
    printed = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    full, left = map(float, printed.split())
    assert full > 45
    assert left < 10
