"""What a batch prediction reads, and the table that it writes.

Start at `inputs.py` (which files), then `images.py` (their images), then `prediction_table.py` (the
output). Modules here may import `tasks.core.data.readers` and `tasks.core.data.files`.
"""
