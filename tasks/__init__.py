"""The stages of the pipeline as Prefect tasks, one task a file: retries, caching and names, no calculation.

A task calls one function of `tasks.core` and no other task. Start at `train.py`, then read the stage it
calls in `tasks.core.model.training.train`. Modules here may import `tasks.orchestration`, `tasks.display`
and `tasks.core`.
"""
