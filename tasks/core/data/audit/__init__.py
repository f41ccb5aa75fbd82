"""The audit stage: duplicates, leaks between the splits, outliers.

Start reading at `audit.py`; the search for near duplicates starts in `duplicates.py`. Modules here may import
`tasks.core.data.tensors` and `tasks.core.data.loader`.
"""
