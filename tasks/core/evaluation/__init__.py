"""The evaluate and label_issues stages: they turn predictions into scores on disk.

Start at `evaluate.py`. Modules here may import `tasks.core.metrics` and `tasks.core.data`.
"""
