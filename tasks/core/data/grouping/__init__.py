"""Groups of images that belong together: of one patient, video, burst or site.

Start reading at `option.py` (`--group-by`), then `joined_groups.py`; `likely_groups.py` looks for signs of
groups in data without any. Splits and tensors by groups are in `tasks.core.data.tensors`.
Modules here may import `tasks.core.data.readers` and below.
"""
