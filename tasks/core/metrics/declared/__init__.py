"""The metrics of a split, each declared once, and what they are estimated from.

Modules here may import the other modules of `tasks.core.metrics`. Start at `declarations.py`.
"""
