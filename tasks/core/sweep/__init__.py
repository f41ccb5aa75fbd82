"""Hyperparameter sweeps: the search space, the ranking of trials, the report.

Start at `space.py`. Modules here may import `tasks.core.reports` and below.
"""
