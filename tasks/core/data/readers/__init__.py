"""Readers: one file a format, behind one door.

Start at `base.py` (what a reader gives) and `factory.py` (which reader a dataset gets; the place to add a
format). Modules here may import `tasks.core.data.files`, `decode.py` and `threads.py`.
"""
