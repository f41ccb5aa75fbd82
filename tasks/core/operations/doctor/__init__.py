"""The checks of `plumbline doctor`, and what it can mend.

Start at `diagnostics.py`. Modules here may import what `tasks.core.operations` may.
"""
