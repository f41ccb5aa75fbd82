"""Makes one plain Keras model of a backbone and a linear head, from raw photos to probabilities."""

import keras

from tasks.core.model.architectures.views import mirrored
from tasks.core.model.transfer.head import Head


def build_published(backbone: keras.Model, head: Head, views: int, temperature: float) -> keras.Model:
    """Build the model to publish. With two views, their features are averaged.

    Args:
        backbone: From uint8 (N, H, W, 3) to features, float32 (N, D).
        head: The linear classifier.
        views: 1, or 2 for the image and its mirror image.
        temperature: Divisor of the logits, in a layer of that name.

    Returns:
        Model from uint8 (N, H, W, 3) to probabilities, float32 (N, classes).
    """
    inputs = keras.Input(backbone.input_shape[1:], dtype="uint8", name="images")
    features = backbone(inputs)
    if views == 2:
        features = keras.layers.Average(name="views")([features, backbone(mirrored(inputs))])
    dense = keras.layers.Dense(len(head.bias), kernel_initializer="zeros", name="logits")
    logits = keras.layers.Rescaling(1 / temperature, name="temperature")(dense(features))
    model = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(logits), name="plumbline")
    dense.set_weights([head.kernel, head.bias])
    return model
