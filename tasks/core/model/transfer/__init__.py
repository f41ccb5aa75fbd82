"""Transfer: classifiers that start from a pretrained backbone.

Start at `probe.py`, the recipe of that name; `head.py` is its linear classifier, and `published.py` makes one
Keras model of backbone and head. Modules here may import `tasks.core.model.export` and what lies below it.
"""
