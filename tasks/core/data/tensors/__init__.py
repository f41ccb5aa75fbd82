"""The normalize stage: the tensor cache.

Start reading at `normalize.py`; `cache.py` reads what it wrote. Modules here may import
`tasks.core.data.readers` and `tasks.core.data.files`.
"""
