"""What the parameters of a flow are, those of the flows that use a model, and where work runs.

Nothing here imports Prefect. Start at `flow_parameters.py`.
`tasks.orchestration.settings` has those of training and sweeps. Modules here may import `tasks.core`.
"""
