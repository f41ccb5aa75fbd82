"""The audit stage: duplicates, leaks between the splits, outliers.

Start at `audit.py`; near duplicates begin in `duplicates.py`. Modules here may import
`tasks.core.data.tensors` and `tasks.core.data.loader`.
"""
