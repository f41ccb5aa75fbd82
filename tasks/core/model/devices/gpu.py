"""NVIDIA GPUs that Linux lists, whether or not TensorFlow can use them."""

import os
import re
from pathlib import Path

DEVICES = Path("/dev")
IDLE = "TensorFlow cannot use them"
HOW_TO_FIX = "pip install -e '.[gpu]' -c constraints.txt, or CUDA_VISIBLE_DEVICES=-1 to do without"


def nvidia_gpu_count() -> int:
    """Number of NVIDIA GPUs; 0 if the user has hidden them (CUDA_VISIBLE_DEVICES)."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return 0
    return sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in DEVICES.glob("nvidia*"))
