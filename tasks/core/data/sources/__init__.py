"""The download stage: from `--dataset` to a verified listing of the files.

Start at `acquire.py`; `catalog.py` declares the known datasets. Modules here may import
`tasks.core.data.readers` and `tasks.core.data.files`.
"""
