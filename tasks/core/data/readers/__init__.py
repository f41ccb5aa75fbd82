"""Readers of image sources: one file per format, opened through `factory.py`.

Start reading at `base.py` (what a reader gives), then `factory.py` (which reader opens which source; add new
formats there). Modules here may import `tasks.core.data.files`, `decode.py` and `threads.py`.
"""
