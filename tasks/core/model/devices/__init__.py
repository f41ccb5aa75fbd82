"""GPUs, replicas, threads, stop signals and TF_CONFIG. Only `device.py` and `replicas.py` import TensorFlow.

Start at `device.py`. Modules here may import the leaf modules of `tasks.core`, and `tasks.core.metrics`.
"""
