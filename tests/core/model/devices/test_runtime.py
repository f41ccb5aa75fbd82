"""What loading TensorFlow imports, in a process of its own."""

import os
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


THREADS = """
import matplotlib, sys  # as another thread may meanwhile
from tasks.core.model.devices.runtime import quiet_tensorflow
with quiet_tensorflow():
    import tensorflow as tf
from tensorflow.python.eager import context
assert tf.executing_eagerly()
assert float(tf.reduce_sum(tf.ones(3))) == 3
assert "matplotlib.pyplot" not in sys.modules
print(context.context().config.experimental.disable_thread_spinning)
"""


def test_threads_of_a_cpu_sleep_when_they_have_nothing_to_do() -> None:
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS], env=hidden, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("True"), done.stdout + done.stderr


def test_a_tensorflow_that_the_user_has_started_is_left_as_it_is() -> None:
    started = "import tensorflow as tf\ntf.ones(3)\n" + THREADS
    without_keras = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}  # else TensorFlow has imported it
    done = subprocess.run(
        [sys.executable, "-c", started], env=without_keras, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("False"), done.stdout + done.stderr
