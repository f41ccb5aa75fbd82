"""This process and this installation: environment, Prefect server, run lock, provenance, doctor.

Start at `environment.py`. Modules here may import `tasks.core.stage` and below, and the modules of
`tasks.core.model.devices` that do not load TensorFlow.
"""
