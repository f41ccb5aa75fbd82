"""The published model, and the export stage: other formats, each verified on the test images.

Start at `export.py`; `inference_model.py` makes the published model. Modules here may import
`tasks.core.model.inference`.
"""
