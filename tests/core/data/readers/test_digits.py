"""The bundled digits, which are read without scikit-learn."""

import subprocess
import sys

import numpy as np
from sklearn.datasets import load_digits

from tasks.core.data.readers import arrays


def test_digits_are_those_of_scikit_learn() -> None:
    (block,) = arrays._digits()
    expected = load_digits()
    np.testing.assert_array_equal(block.labels, expected.target)
    np.testing.assert_array_equal(block.images[..., 0], np.rint(expected.images * (255 / 16)))
    assert (block.images.dtype, block.images.shape, block.labels.dtype) == (
        np.uint8,
        (1797, 8, 8, 1),
        np.int32,
    )


def test_digits_are_read_without_importing_scikit_learn() -> None:
    code = (
        "import sys\nfrom tasks.core.data.readers import arrays\nnext(arrays._digits())\n"
        "print('sklearn' in sys.modules, arrays.digits_file().is_file())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
