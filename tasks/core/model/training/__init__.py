"""The train stage: loop, optimizers, schedules, checkpoints, cross-prediction, the overfit check.

Start at `train.py` (the stage, without TensorFlow), then `loop.py`, then `trainer.py`. Modules here may
import `tasks.core.model.export`, `inference`, `architectures` and `devices`.
"""
