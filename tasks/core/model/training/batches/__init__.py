"""The images of each step: gathered and augmented on the host, or on the device that all images stay on.

Start at `host_images.py`. Modules here may import `tasks.core.data`, `tasks.core.model.devices` and
`tasks.core.model.training.steps`.
"""
