"""The train stage: training loop, optimizers, checkpoints, cross-prediction, overfit check.

Start at `train.py` (the stage, without TensorFlow), then `loop.py`, then `trainer.py` (state, early stopping)
and `step_functions.py` (one step). Modules here may import `tasks.core.model.export`, `inference`,
`architectures` and `devices`.
"""
