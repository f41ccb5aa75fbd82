"""What the parameters of a flow are, and those of the flows that use a model. Nothing here imports Prefect.

`tasks.orchestration.settings` has those of training and sweeps. Modules here may import `tasks.core`.
"""
