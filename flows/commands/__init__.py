"""Console commands that are not flows: they read and write plain files, without Prefect and TensorFlow.

Each file has one command, which `flows.__main__` adds to `plumbline`. They may import `tasks.display` and
`tasks.core`.
"""
