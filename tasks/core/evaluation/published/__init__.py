"""Scores of a published version on images that are not of its run.

Start at `score.py`. Modules here may import `tasks.core.evaluation`, `tasks.core.metrics` and
`tasks.core.data`.
"""
