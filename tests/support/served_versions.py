"""Publishes small real models, and serves them on a free port in a thread."""

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tasks.core.registry import registry
from tasks.core.serving import app, http_server, pages
from tasks.core.serving.champion import FollowedModel
from tasks.core.serving.served_model import DecisionOptions
from tasks.core.serving.service import Service
from tasks.core.serving.settings import Limits
from tasks.core.stage import publish
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import NORMALIZE
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs

DATASET = "animals"
ABSTENTION = [{"max_error": 0.05, "threshold": 0.6, "coverage": 0.9}, {"max_error": 0.01, "threshold": None}]


def tensors(workspace: Workspace) -> TensorCache:
    """Random images of seven classes, with the facts of a real tensor cache."""
    fake = FakeOutputs(workspace, images=50)
    facts = {
        "dataset": DATASET,
        "classes": fake.classes,
        "shape": fake.shape,
        "quarantined": 0,
        "fit": "crop",
    }

    def build(staging: Path) -> dict[str, Any]:
        return {**facts, **fake._write_tensors(staging)}

    return NORMALIZE.output(Ingredients(NORMALIZE.name, {"raw": "none"}, {}), workspace, build)


def publish_version(workspace: Workspace, tensors: TensorCache, name: str, seed: int, **facts: Any) -> Path:
    """Publish a convolutional model with random weights for images of the tensors' shape.

    Returns:
        The path of `model.keras`.
    """
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input(tensors.shape, dtype="uint8", name="images")
    outputs = inputs
    wide = keras.initializers.RandomNormal(stddev=3)
    for layer in (
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(len(tensors.classes), name="logits", kernel_initializer=wide),
        keras.layers.Softmax(),
    ):
        outputs = layer(outputs)

    def build(staging: Path) -> dict[str, Any]:
        keras.Model(inputs, outputs).save(staging / registry.MODEL)
        (staging / registry.CARD).write_text(f"# {DATASET} {name}\n")
        scores = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}}
        return {
            **{"dataset": DATASET, "version": name, "classes": list(tensors.classes), "temperature": 1.0},
            **{
                "shape": list(tensors.shape),
                "tensors": tensors.digest,
                "training": "none",
                "metrics": scores,
            },
            **{"abstention": ABSTENTION, "images": tensors.test},
            "model_sha256": hashing.sha256_file(staging / registry.MODEL),
            **facts,
        }

    directory = workspace.models / DATASET / name
    publish.publish(directory, Ingredients("publish", {}, {"version": name}), build)
    return directory / registry.MODEL


def promote(workspace: Workspace, name: str) -> None:
    """Make a version the champion."""
    registry.promote(DATASET, name, workspace, who="a test", why="a test")


@contextlib.contextmanager
def served(
    workspace: Workspace,
    limits: Limits | None = None,
    options: DecisionOptions | None = None,
    hosts: frozenset[str] = frozenset(),
    **settings: Any,
) -> Iterator[tuple[httpx.Client, Service]]:
    """Serve the champion in a thread; yields a client and the service."""
    limits = limits or Limits()
    followed = FollowedModel(DATASET, "champion", options or DecisionOptions(), workspace)
    service = Service(followed, limits, poll_seconds=0.1, **settings)
    application = app.create_app(service, partial(pages.add_predict_page, with_workspace=True))
    listening = http_server.listen("127.0.0.1", 0)
    server = http_server.create_server(application, hosts, limits.header_seconds)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
            yield client, service
    finally:
        server.should_exit = True
        thread.join(30)
