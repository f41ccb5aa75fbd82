"""The script of a tutorial, as people write it: the rival in benchmarks/training.py.

python benchmarks/textbook.py TENSORS SEED

TENSORS is a directory that normalize made (`workspace/tensors/<digest>`). All labelled images are trained on
(train and val), test is the validation data of `fit`, as in TensorFlow's tutorial "Convolutional Neural
Network (CNN)". Prints one line of JSON.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

imports = time.process_time()
wall = time.perf_counter()
folder = Path(sys.argv[1])
keras.utils.set_random_seed(int(sys.argv[2]))
x_train = np.concatenate([np.load(folder / f"{split}.images.npy") for split in ("train", "val")]) / 255.0
y_train = np.concatenate([np.load(folder / f"{split}.labels.npy") for split in ("train", "val")])
x_test = np.load(folder / "test.images.npy") / 255.0
y_test = np.load(folder / "test.labels.npy")

model = keras.Sequential(
    [
        keras.Input(x_train.shape[1:]),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(int(y_train.max()) + 1),
    ]
)
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, epochs=10, batch_size=32, validation_data=(x_test, y_test), verbose=0)
predicted = model.predict(x_test, verbose=0).argmax(axis=1)
print(
    json.dumps(
        {
            "accuracy": float(np.mean(predicted == y_test)),
            "imports": imports,
            "cpu": time.process_time() - imports,
            "wall": time.perf_counter() - wall,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        }
    )
)
