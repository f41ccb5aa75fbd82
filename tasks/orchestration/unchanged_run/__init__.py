"""A training command in which nothing has changed: decided and recorded in a second, without Prefect.

Folder rule: it may import `tasks.display`, `tasks.core` and `tasks.orchestration.settings`, but nothing that
imports prefect, pandas or TensorFlow. What is uncertain is left to the flow. Start reading at `start`, then
`command`: it decides and records; `arguments` reads the command line, `flow_run` tells a Prefect server.
"""
