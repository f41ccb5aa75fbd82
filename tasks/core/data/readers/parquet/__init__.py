"""Parquet files of images: which columns have the images and their labels, and a reader in bounded memory.

Start at `reader.py`, then `file.py` (one file). Modules here may import what `tasks.core.data.readers` may.
"""
