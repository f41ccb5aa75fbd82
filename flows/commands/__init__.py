"""Console commands that are no flows: they read and write plain files, without Prefect and TensorFlow.

One command a file; `flows.__main__` adds them to `plumbline`. They may import `tasks.display` and
`tasks.core`.
"""
