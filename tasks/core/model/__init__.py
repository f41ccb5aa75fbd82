"""Models: everything that calculates with TensorFlow, and nothing else does.

Follow a model: `architectures`, `training` (the train stage), `export` (published files), `inference`
(predictions). Modules above import this room inside functions, so that a run whose stages are cached
never loads TensorFlow.
"""
