"""Images: where they come from, how they become tensors, how they are audited and read.

The path of an image: `sources` (the download stage), `readers` (one file per format), `file_types.py` (is it
an image?), `decode.py`, `grouping` (what belongs together), `tensors` (the normalize stage), `audit`,
`loader` (how training reads), `inference` (batch prediction). Modules here may import `tasks.core.stage` and
below, and never Prefect or TensorFlow.
"""
