"""The download stage: from `--dataset` to a verified listing of the files.

Start reading at `acquire.py`; `catalog.py` declares the built-in datasets. Modules here may import
`tasks.core.data.readers` and `tasks.core.data.files`.
"""
