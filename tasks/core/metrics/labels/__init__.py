"""Wrong labels and images worth a label, from predicted probabilities.

Start at `label_noise.py`. Modules here may import numpy, scipy and the modules of `tasks.core.metrics`.
"""
