"""From the tensor cache to a published Keras model and its predictions."""
