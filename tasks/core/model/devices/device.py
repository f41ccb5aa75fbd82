"""The devices that train together, and the precision that they calculate in.

Precision is bfloat16 on GPUs and x86 processors that multiply in it, and float32 on others, where oneDNN
would emulate bfloat16 slowly. On 2 cores of an AMD EPYC with AVX512_BF16, bfloat16 makes convolutional
networks 1.4 to 1.5 times cheaper at the same accuracy.

XLA is not used. On 2 CPU cores it halves the throughput of convolutions (447 instead of 888 images per
CPU-second for the textbook network), since its convolutions are not oneDNN's. On GPUs it needs other pools
than Keras', whose gradient in XLA is not deterministic, and compiling takes longer than a training saves
(docs/experiments.md).
"""

import logging
import platform
from functools import cache
from typing import Any

import tensorflow as tf

from tasks.core.config import Precision
from tasks.core.model.devices import gpu, processor, replicas, tf_config
from tasks.core.model.devices.replicas import SingleDevice

log = logging.getLogger("plumbline.train")

BFLOAT16 = (8, 0)  # compute capability (Ampere) from which NVIDIA GPUs calculate in bfloat16
KERNEL_FLAGS = processor.BFLOAT16_FLAGS | {"avx2", "avx512f", "avx512_vnni", "amx_tile", "avx512_fp16"}
FULL = "float32"
MIXED = "mixed_bfloat16"


def policy(precision: Precision = Precision.auto) -> str:
    """Keras' name of the precision to calculate in on this machine; weights are always float32.

    Args:
        precision: "auto" chooses by the hardware. In a cluster it chooses float32 on CPUs, since the
            processors may differ.

    Returns:
        "float32" or "mixed_bfloat16".
    """
    if precision != Precision.auto:
        return MIXED if precision == Precision.bfloat16 else FULL
    if tf.config.list_physical_devices("GPU"):
        return MIXED if tuple(_gpu().get("compute_capability", (0, 0))) >= BFLOAT16 else FULL
    return MIXED if not tf_config.this_cluster() and processor.flags() & processor.BFLOAT16_FLAGS else FULL


def name() -> str:
    """Name of the hardware that this process calculates on: "CPU", or the name of its first GPU."""
    return str(_gpu().get("device_name", "GPU")) if tf.config.list_physical_devices("GPU") else "CPU"


def kind() -> str:
    """What decides the bits of a calculation: the GPU, or the instructions that oneDNN chooses kernels by."""
    if tf.config.list_physical_devices("GPU"):
        return name()
    return " ".join([platform.machine(), *sorted(processor.flags() & KERNEL_FLAGS)])


def _gpu() -> dict[str, Any]:
    """TensorFlow's details of the first GPU."""
    return dict(tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0]))


@cache
def everything() -> SingleDevice:
    """All devices to train on: the cluster of TF_CONFIG, or this process's GPUs, or one device.

    The result is cached, since TensorFlow lets a process join a cluster only once, before it calculates
    anything.
    """
    if cluster := tf_config.this_cluster():
        return replicas.processes(cluster)
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        log.info("  on %d GPUs", len(gpus))
        return replicas.gpus([device.name for device in gpus])
    if not gpus and (idle := gpu.nvidia_gpu_count()):
        log.warning("  %d GPU(s) are idle, %s: %s", idle, gpu.IDLE, gpu.HOW_TO_FIX)
    return SingleDevice()
