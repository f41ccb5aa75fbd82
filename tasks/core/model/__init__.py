"""Models: all code that calculates with TensorFlow. No other package of `tasks.core` does.

In the order of a model's life: `architectures`, `training` (the train stage), `export` (published files),
`inference` (predictions); `devices` serves all of them. Modules outside import TensorFlow code inside
functions, so that a run whose stages are cached never loads TensorFlow.
"""
