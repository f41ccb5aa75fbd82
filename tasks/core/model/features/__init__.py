"""Features of photos by a pretrained backbone: the embed stage, and the store that keeps them per image.

Start at `embed.py`. Modules here may import `tasks.core.model.backbones`, `tasks.core.model.devices` and
`tasks.core.data`.
"""
