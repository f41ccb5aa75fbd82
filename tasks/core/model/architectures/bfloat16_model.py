"""A published model that calculates in bfloat16, with the same layers and weights."""

from typing import Any

import keras

POLICY = "mixed_bfloat16"
LOGITS = "logits"  # from here on in float32: bfloat16 has 8 bits of significand, so that logits would tie


def in_bfloat16(model: keras.Model) -> keras.Model:
    """A copy of a published model whose layers before the logits calculate in bfloat16.

    Keras' precision of each layer decides it, not an option of the process: TensorFlow's rewriter to bfloat16
    (`auto_mixed_precision_onednn_bfloat16`) is as fast, and applies to whatever is called while it is on.

    Args:
        model: From uint8 (N, H, W, C) to probabilities, float32 (N, classes), and perhaps more outputs, with
            a layer `logits`. In the copy, a layer's own first input may be that of the mirror view.

    Returns:
        The same, with its own variables, which are float32.
    """
    names = [layer.name for layer in model.layers]
    after = set(names[names.index(LOGITS) :])

    def copy(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation without weights, such as the mirror
        is_kept = layer.name in after or isinstance(layer, keras.layers.InputLayer)
        return type(layer).from_config(layer.get_config() | ({} if is_kept else {"dtype": POLICY}))

    copied = keras.models.clone_model(model, clone_function=copy, recursive=True)
    copied.set_weights(model.get_weights())
    return copied
