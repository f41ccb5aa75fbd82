"""Which images are worth a label next: those that a model is unsure about and that are unlike each other.

The method is BADGE: J. T. Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
Bounds", ICLR 2020. Each image stands for the gradient that its most probable label would give the last
layer, which is long where the model is unsure. The seeding of k-means++ draws from these.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def margins(probabilities: Floats) -> Floats:
    """The probability of the most probable class minus that of the second, float32 (N,), of (N, classes)."""
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0], np.float32)


def uncertain_and_diverse(
    probabilities: Floats, embeddings: Floats, count: int, seed: int
) -> NDArray[np.int64]:
    """Choose images to label.

    Args:
        probabilities: float32 (N, classes).
        embeddings: float32 (N, D), what the last layer sees.
        count: How many; fewer are chosen if the others equal those chosen.
        seed: Of the draws.

    Returns:
        int64 (n,), n <= count: numbers of the images in the order of the choice. The first one has the
        longest gradient.
    """
    generator = np.random.default_rng(seed)
    errors = np.array(probabilities, np.float64)  # the gradient is the outer product of error and embedding
    errors[np.arange(len(errors)), errors.argmax(1)] -= 1
    features = embeddings.astype(np.float64)
    squares = np.square(errors).sum(1) * np.square(features).sum(1)
    chosen: list[int] = []
    distances = squares.copy()
    number = int(squares.argmax()) if len(squares) else 0
    while len(chosen) < min(count, len(squares)) and distances[number] > 0:
        chosen.append(number)
        products = (errors @ errors[number]) * (features @ features[number])
        distances = np.minimum(distances, np.maximum(squares + squares[number] - 2 * products, 0))
        distances[(distances < 1e-9 * squares[chosen[0]]) | np.isin(np.arange(len(squares)), chosen)] = 0
        if distances.any():
            number = int(generator.choice(len(distances), p=distances / distances.sum()))
    return np.array(chosen, np.int64)
