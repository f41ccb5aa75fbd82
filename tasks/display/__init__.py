"""What the user sees during a run: console, progress bars, Prefect's dashboard and events.

Start at `console.py`. Modules here may import `tasks.core` and Prefect.
"""
