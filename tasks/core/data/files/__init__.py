"""The files of a source, in a folder or in an archive: their stat, their SHA-256, and the listing of them.

Start reading at `listing.py`, and at `archive.py` for archives. Modules here may import `tasks.core.stage`,
`tasks.core.storage`, `decode.py` and `threads.py`.
"""
