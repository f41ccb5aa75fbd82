"""Predictions: of the val and test images, of batches of new images, and the profile stage.

Start at `predictor.py`, the one way to load a published model. Modules here may import
`tasks.core.model.architectures`, `tasks.core.model.devices` and `tasks.core.data`.
"""
