"""TensorFlow's import, 2 to 5 CPU-seconds, at a moment when the process would only wait."""

from tasks.core.model.devices.runtime import suppress_stderr


def import_tensorflow() -> None:
    """Import what a training needs; the import where it is needed costs nothing then."""
    with suppress_stderr():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
