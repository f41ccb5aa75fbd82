"""Image folders, and the reader of image files of any listing.

Start at `folders.py` (what lies in a folder), then `reader.py`. Modules here may import what
`tasks.core.data.readers` may.
"""
