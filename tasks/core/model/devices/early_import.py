"""TensorFlow's import, 2 to 3 CPU-seconds, at a moment when the process would only wait."""

from tasks.core.model.devices.runtime import quiet_tensorflow


def import_tensorflow() -> None:
    """Import what a training needs; the import where it is needed costs nothing then."""
    with quiet_tensorflow():
        pass
