"""The larger sections of a run's report, each with the values for its part of the template.

Start at `class_reading.py`. Modules here may import what `tasks.core.reports` may, and its figures.
"""
