"""How a run is carried out with Prefect: cache policies, retries, task runners, dry run, crashed runs.

Start at `run.py`: it calls each stage and records its result. Modules here may import
`tasks.display` and `tasks.core`, and no task.
"""
