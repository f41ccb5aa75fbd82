"""Predictions of the val and test images, batch prediction of new images, and the profile stage.

Start at `predictor.py`, which loads a published model for all of them. Modules here may import
`tasks.core.model.architectures`, `tasks.core.model.devices` and `tasks.core.data`.
"""
