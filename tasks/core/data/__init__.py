"""From a source of images to the tensor cache."""
