"""The networks: raw uint8 images in, logits out.

Start at `build.py`, which chooses by recipe. Modules here may import `tasks.core.model.devices`.
"""
