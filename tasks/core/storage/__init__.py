"""Bytes on disk and in a bucket: atomic files, locks, manifests, and the mirror of an object store.

Start at `atomic.py` and `manifests.py`; `mirror.py` matters only for workspaces at an address such as
s3://. Modules here may import the leaf modules of `tasks.core`, and nothing else of Plumbline.
"""
