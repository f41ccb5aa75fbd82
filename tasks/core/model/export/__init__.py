"""The published model, and the export stage, which writes other formats and verifies each on the test images.

Start at `export.py`; `inference_model.py` builds the published model, `any_size.py` one that takes images of
any size, and `description.py` has what a file says about itself. Modules here may import
`tasks.core.model.inference`.
"""
