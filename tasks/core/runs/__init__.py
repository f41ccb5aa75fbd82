"""The metrics tables, and the modules that read past runs: compare, explain, reproduce, unchanged.

Start at `tables.py`. Modules here may import `tasks.core.registry` and below.
"""
