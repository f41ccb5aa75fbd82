"""Metrics: pure functions on arrays. They open no file, take no handle and draw no plot.

Start at `classification.py`. Modules here may import numpy, scipy, scikit-learn, pandas and each other.
"""
