"""Predictions of a model in the order of another dataset's classes, by name.

A champion may know other classes than the tensors have, or the same ones in another order.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.stage.handles import Model, TensorCache

Floats = NDArray[np.float32]


def other_classes(model: Model, tensors: TensorCache) -> tuple[str, ...]:
    """The classes of a published model that the tensors lack, in the model's order."""
    return tuple(name for name in _classes(model, tensors) if name not in tensors.classes)


def parameters(model: Model, tensors: TensorCache) -> dict[str, list[str]]:
    """What decides the order of the predictions; empty for a model of the tensors' own classes."""
    classes = _classes(model, tensors)
    if classes == tensors.classes:
        return {}
    return {"model_classes": list(classes), "classes": list(tensors.classes)}


def in_order(probabilities: Floats, model: Model, tensors: TensorCache) -> Floats:
    """Probabilities of the tensors' classes, then of `other_classes`.

    Args:
        probabilities: float32 (N, classes of the model), 0..1.
        model: The model.
        tensors: The tensors.

    Returns:
        float32 (N, C + others), 0..1; 0 for a class that the model does not know.
    """
    classes = _classes(model, tensors)
    if classes == tensors.classes:
        return probabilities
    names = (*tensors.classes, *other_classes(model, tensors))
    ordered = np.zeros((len(probabilities), len(names)), np.float32)
    ordered[:, [names.index(name) for name in classes]] = probabilities
    return ordered


def _classes(model: Model, tensors: TensorCache) -> tuple[str, ...]:
    """A published model's classes; the model of this run has those of the tensors."""
    return tuple(model.manifest["facts"].get("classes", tensors.classes))
