"""Metrics: pure functions on arrays. No file, no handle, no plot.

Start at `classification.py`. Modules here may import numpy, scipy, scikit-learn, pandas and each other.
"""
