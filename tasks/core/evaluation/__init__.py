"""The evaluate and label_issues stages: predictions become scores on disk.

Start at `evaluate.py`. Modules here may import `tasks.core.metrics` and `tasks.core.data`.
"""
