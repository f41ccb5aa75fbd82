"""Models: everything that calculates with TensorFlow, which no other folder imports.

The path of a model: `architectures`, `training` (the train stage), `export` (published files), `inference`
(predictions). Modules here may import `tasks.core.data` and below. Modules above import this folder inside
functions, so that a run whose stages are all cached never loads TensorFlow.
"""
