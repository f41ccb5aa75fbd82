"""Probabilities as decisions: curves, operating points, abstention.

Start at `operating_point.py`. Modules here may import numpy, scipy, scikit-learn and the modules of
`tasks.core.metrics`.
"""
