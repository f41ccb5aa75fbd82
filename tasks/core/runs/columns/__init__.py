"""The columns of metrics tables that have a module of their own.

Start at `operating_points.py`. Modules here may import pyarrow, and what `tasks.core.runs` may.
"""
