"""Stages of the pipeline as Prefect tasks, one task a file: policy, no thinking."""
