"""Slices: the images with one value of another column of the data, such as all images of site B.

Start at `slice_table.py`; `values.py` has what a slice is. Modules here may import `tasks.core.metrics` and
`tasks.core.data`.
"""
