"""A convolution whose weight gradient is calculated as another convolution, where that is faster.

oneDNN calculates the gradient of small maps' kernels in bfloat16 at a third to two thirds of the speed of the
convolution itself. The same sums are a convolution over the batch, with images and channels exchanged: its
input has a channel for each image, and its kernel is the gradient of the output. A training step takes 6 to
12 % less CPU time (docs/experiments.md).
"""

from collections.abc import Callable

import keras
import tensorflow as tf

LARGEST_SIDE = 7  # pixels; at 8 both ways cost the same, and at 15 this one costs 1.1 to 1.7 times as much
GROUP = 256  # images at once; with 512, a map of 7 pixels and 256 channels costs 1.4 times as much


class Convolution(keras.layers.Conv2D):
    """A 3x3 convolution with stride 1 and padding "same"; in all but speed a `Conv2D`.

    Only training has it: the published model has plain `Conv2D` layers.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: keras.Variable) -> tf.Tensor:
        """Apply the kernel (3, 3, C, K) to (N, H, W, C); gives (N, H, W, K)."""
        if not _is_faster(inputs):
            return super().convolution_op(inputs, kernel)
        return convolve(inputs, tf.convert_to_tensor(kernel))


def _is_faster(inputs: tf.Tensor) -> bool:
    """Whether the gradient is faster as a convolution: small maps in bfloat16 on a CPU."""
    is_small = max(inputs.shape[1:3]) <= LARGEST_SIDE
    return is_small and inputs.dtype == tf.bfloat16 and not tf.config.list_physical_devices("GPU")


@tf.custom_gradient
def convolve(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """A convolution with stride 1 and padding "same", and its gradients.

    Args:
        inputs: Floats (N, H, W, C).
        kernel: Floats (3, 3, C, K) of the same type.

    Returns:
        Floats (N, H, W, K), and the function that gives the gradients of both arguments.
    """

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        settings = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        of_inputs = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, **settings
        )
        return of_inputs, _weight_gradient(inputs, upstream)

    return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradients


def _weight_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient of the kernel, (3, 3, C, K): the sum over groups of images, in float32."""
    images = inputs.shape[0]
    groups = images // GROUP if images and images % GROUP == 0 else 1
    pairs = zip(tf.split(inputs, groups), tf.split(upstream, groups), strict=True)
    sums = [tf.cast(_correlation(*pair), tf.float32) for pair in pairs]
    return tf.cast(tf.add_n(sums), inputs.dtype)


def _correlation(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Convolve (C, H, W, N) with (H, W, N, K), for shifts of -1, 0 and 1 pixels: (3, 3, C, K)."""
    swapped, kernel = tf.transpose(inputs, [3, 1, 2, 0]), tf.transpose(upstream, [1, 2, 0, 3])
    correlated = tf.nn.conv2d(swapped, kernel, 1, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return tf.transpose(correlated, [1, 2, 0, 3])
