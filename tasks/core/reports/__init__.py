"""HTML reports and their figures; `templates/` has the pages.

Start at `content.py`, which computes what a run's report shows. Modules here may import `tasks.core.runs`
and below.
"""
