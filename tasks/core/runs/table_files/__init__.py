"""The files of a metrics table: filled run by run, folded, checked, and shared by way of an object store.

Start at `filling.py`. Modules here may import `tasks.core.storage`, and nothing of the tables' columns.
"""
