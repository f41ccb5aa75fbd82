"""Hyperparameter sweeps: the space of trials, their ranking, the report.

Start at `space.py`. Modules here may import `tasks.core.reports` and below.
"""
