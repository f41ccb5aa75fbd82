"""The inputs of a batch prediction, and the table that it writes.

Start reading at `inputs.py` (which files; `unused_files.py` names the others), then `images.py` (their
images), then `prediction_table.py` (the output). Modules here may import `tasks.core.data.readers` and
`tasks.core.data.files`.
"""
