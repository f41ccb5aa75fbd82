"""How training reads the tensor cache: in shuffled windows that fit into memory.

Start reading at `shuffle.py`. Modules here may import `tasks.core.data.tensors.cache`.
"""
