"""The devices at hand: which of them train together, and the precision that they calculate in.

Precision is bfloat16 on GPUs that have it, float32 elsewhere. Not XLA: on 2 CPU cores it halves the
throughput of convolutions (888 against 447 images a CPU-second for the textbook net), since its convolutions
are not oneDNN's; on GPUs it has no deterministic gradient of a max pool, and the same seed shall give the
same bytes. No GPU was at hand to measure on: the tests try a GPU's settings on a CPU, for their sums and not
for their speed.
"""

import logging
from functools import cache

import tensorflow as tf

from tasks.core import cluster
from tasks.core.model import team
from tasks.core.model.team import Alone

log = logging.getLogger("plumbline.train")

BFLOAT16 = (8, 0)  # compute capability (Ampere) from which NVIDIA GPUs calculate in bfloat16
CPU = "float32"
GPU = "mixed_bfloat16"


def policy() -> str:
    """Keras' name of the precision for this machine; weights are float32 in any."""
    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    return GPU if tuple(details.get("compute_capability", (0, 0))) >= BFLOAT16 else CPU


@cache
def everything() -> Alone:
    """All that this process may train on: the cluster of TF_CONFIG, else its GPUs, else one device.

    Cached, since TensorFlow lets a process join a cluster once, before anything else is calculated.
    """
    if place := cluster.this():
        return team.processes(place)
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        log.info("  on %d GPUs", len(gpus))
        return team.gpus([gpu.name for gpu in gpus])
    return Alone()
