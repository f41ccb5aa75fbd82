"""Two models on the same images: paired tests, equivalence, what a test set can tell.

Start at `paired.py`. Modules here may import numpy, scipy and the modules of `tasks.core.metrics`.
"""
