"""The processor's instructions, read without TensorFlow."""

from pathlib import Path

from tasks.core.model.devices import gpu

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # names in /proc/cpuinfo
CPUINFO = Path("/proc/cpuinfo")


def flags() -> set[str]:
    """Feature flags of the processor, on Linux and x86; empty on other systems."""
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.exists() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def predicts_in_bfloat16() -> bool:
    """Whether predictions may be calculated in bfloat16: on processors that multiply in it, without a GPU."""
    return bool(flags() & BFLOAT16_FLAGS) and not gpu.nvidia_gpu_count()
