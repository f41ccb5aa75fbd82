"""The devices at hand: which of them train together, and the precision that they calculate in.

Precision is bfloat16 on GPUs and x86 processors that multiply in it, float32 elsewhere (oneDNN would imitate
it, slowly). On 2 cores of an AMD EPYC with AVX512_BF16 it makes convolutional nets 1.4 to 1.5 times cheaper,
at the same accuracy. Not XLA: on 2 CPU cores it halves the throughput of convolutions (888 against 447 images
a CPU-second for the textbook net), since its convolutions are not oneDNN's; on GPUs it has no deterministic
gradient of a max pool, and the same seed shall give the same bytes, as it does on an NVIDIA H200 without it.
"""

import logging
from functools import cache
from pathlib import Path
from typing import Any

import tensorflow as tf

from tasks.core.config import Precision
from tasks.core.model.devices import gpu, replicas, tf_config
from tasks.core.model.devices.replicas import SingleDevice

log = logging.getLogger("plumbline.train")

BFLOAT16 = (8, 0)  # compute capability (Ampere) from which NVIDIA GPUs calculate in bfloat16
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # as Linux names them
TOLD = Path("/proc/cpuinfo")
FULL = "float32"
MIXED = "mixed_bfloat16"


def policy(precision: Precision = Precision.auto) -> str:
    """Keras' name of the precision to calculate in on this machine; weights are float32 in any.

    Processors of a cluster need not be alike: left to itself, it calculates in float32.
    """
    if precision != Precision.auto:
        return MIXED if precision == Precision.bfloat16 else FULL
    if tf.config.list_physical_devices("GPU"):
        return MIXED if tuple(_gpu().get("compute_capability", (0, 0))) >= BFLOAT16 else FULL
    return MIXED if not tf_config.this_cluster() and _flags() & BFLOAT16_FLAGS else FULL


def name() -> str:
    """What this process calculates on: "CPU", or what its first GPU is called."""
    return str(_gpu().get("device_name", "GPU")) if tf.config.list_physical_devices("GPU") else "CPU"


def _gpu() -> dict[str, Any]:
    """What TensorFlow tells of the first GPU."""
    return dict(tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0]))


def _flags() -> set[str]:
    """What the processor can do, on Linux and x86; nothing where it isn't told."""
    lines = TOLD.read_text().splitlines() if TOLD.exists() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())


@cache
def everything() -> SingleDevice:
    """All that this process may train on: the cluster of TF_CONFIG, else its GPUs, else one device.

    Cached, since TensorFlow lets a process join a cluster once, before anything else is calculated.
    """
    if place := tf_config.this_cluster():
        return replicas.processes(place)
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        log.info("  on %d GPUs", len(gpus))
        return replicas.gpus([each.name for each in gpus])
    if not gpus and (idle := gpu.nvidia_gpu_count()):
        log.warning("  %d GPU(s) lie idle, %s: %s", idle, gpu.IDLE, gpu.HOW_TO_FIX)
    return SingleDevice()
