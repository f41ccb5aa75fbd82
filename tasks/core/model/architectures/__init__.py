"""The networks, from raw uint8 images to logits.

Start at `build.py`, which builds the recipe's network. Modules here may import `tasks.core.model.devices`.
"""
