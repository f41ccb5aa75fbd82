"""Backbones: networks with pretrained weights, from raw uint8 photos to features.

Start at `catalog.py`, which declares them as data; `network.py` builds one. Modules here may import
`tasks.core.model.devices` and `tasks.core.data`; the catalog and the weights need no TensorFlow.
"""
