"""The files of a source: their stat, their SHA-256, and the listing of them.

Start reading at `listing.py`. Modules here may import `tasks.core.stage` and `tasks.core.storage`.
"""
