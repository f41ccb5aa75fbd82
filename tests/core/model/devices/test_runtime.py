"""What loading TensorFlow imports, in a process of its own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

LOADED = """
import linecache, sys
from tasks.core.model.devices.runtime import OPTIONAL, quiet_tensorflow
with quiet_tensorflow():
    pass
assert "tensorflow" in sys.modules
assert not OPTIONAL & sys.modules.keys(), OPTIONAL & sys.modules.keys()
assert not linecache.cache  # TensorFlow leaves 8 MB of source lines
import matplotlib, sklearn  # found afterwards
"""


def test_keras_is_loaded_without_what_it_only_looks_for() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
