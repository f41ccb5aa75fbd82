"""The images that a published version is evaluated on: any labelled images that it has not seen.

Start at `labelled.py`. Modules here may import `tasks.core.data.tensors`, `tasks.core.data.grouping` and
`tasks.core.data.readers`, and what lies below them.
"""
