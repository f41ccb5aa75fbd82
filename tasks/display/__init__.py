"""What a person sees while a run is going on: console, progress bars, Prefect's dashboard.

Start at `console.py`. Modules here may import `tasks.core` and Prefect.
"""
