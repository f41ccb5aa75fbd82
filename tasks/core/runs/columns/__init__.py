"""The columns of the metrics tables; some tables have a module of their own.

Start at `schemas.py`. Modules here may import pyarrow, and what `tasks.core.runs` may.
"""
