"""A training command in which nothing has changed: decided and recorded in a second, without Prefect.

`start` is the way in. `command` decides and records, `arguments` reads the command line, `flow_run` tells a
Prefect server that answers.
Nothing here imports prefect, pandas or TensorFlow. What is uncertain is left to the flow.
"""
