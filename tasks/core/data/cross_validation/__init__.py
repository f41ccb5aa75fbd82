"""Cross-validation over all images: which images belong together, their folds, the tensors of a fold.

Start at `images.py`. Modules here may import `tasks.core.data.audit` and `tasks.core.data.tensors`, and what
lies below them.
"""
