"""What answers requests for predictions: it decodes the images, runs the model, and keeps the rows."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import FastAPI, Request

from tasks.core.serving import bodies, similar
from tasks.core.serving.batching import Batcher
from tasks.core.serving.bodies import Body, Upload
from tasks.core.serving.champion import FollowedModel
from tasks.core.serving.monitoring import Monitoring
from tasks.core.serving.recording import Recorder
from tasks.core.serving.served_model import TOO_LARGE, DecodedUpload, ServedModel
from tasks.core.serving.settings import Admission, Limits, Refused
from tasks.core.serving.similar import TrainingImages

log = logging.getLogger("plumbline.serve")
MOST_NEAREST = 20  # training images that a request may ask for


@dataclass
class Service:
    """What answers requests.

    Args:
        followed: The model.
        limits: Limits of requests.
        max_batch: Most images in a call of the model.
        poll_seconds: Time between two looks at the alias.
        recorder: Where rows are written; None for nowhere.
        record_seconds: Time between two batches of rows.
        with_training_images: Whether similar training images are shown.
    """

    followed: FollowedModel
    limits: Limits = field(default_factory=Limits)
    max_batch: int = 32
    poll_seconds: float = 5.0
    recorder: Recorder | None = None
    record_seconds: float = 60.0
    with_training_images: bool = True

    def __post_init__(self) -> None:
        self.monitoring = Monitoring()
        self.monitoring.answering(self.followed.current)
        self.admission = Admission(self.limits)
        self.monitoring.waiting.set_function(lambda: self.admission.requests)
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1, "decode")
        self.training_images: dict[str, TrainingImages] = {}
        self.is_stopping = False

    @contextlib.asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Run what goes on beside the requests; at the end, the rows that are left are written."""
        self.batcher = Batcher(self.max_batch, self.monitoring.batch.observe)
        tasks = [
            asyncio.create_task(work)
            for work in (
                self.batcher.run(),
                self.followed.follow(self.poll_seconds, self._swapped),
                self._record_regularly(),
                self._embed_training_images(self.followed.current),
            )
        ]
        try:
            yield
        finally:
            self.is_stopping = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.recorder is not None:
                await asyncio.to_thread(self.recorder.write)
            self.batcher.close()
            self.threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: Request, sent: Body) -> tuple[HTTPStatus, dict[str, Any]]:
        """The answer to a request for predictions.

        Args:
            request: The request.
            sent: Its body.

        Raises:
            Refused: It cannot be answered.
        """
        nearest = _number_of_nearest(request)
        content_type = request.headers.get("content-type", "")
        bodies.media_type(content_type)
        bodies.refuse_encoding(request.headers.get("content-encoding", ""))
        held = 0
        self.admission.enter()
        try:
            body = await sent.read(self.admission)
            held = len(body)
            return await self._predict(body, content_type, nearest)
        finally:
            self.admission.leave(held)

    async def _predict(
        self, body: bytes, content_type: str, nearest: int
    ) -> tuple[HTTPStatus, dict[str, Any]]:
        model = self.followed.current
        uploads, images = await self._in_thread(self._parsed, model, body, content_type)
        if len(uploads) > 1:
            images = await asyncio.gather(*(self._in_thread(self._decode, model, each) for each in uploads))
        probabilities, embeddings = await self._score(model, images)
        rows = model.rows(images, probabilities)
        self.monitoring.count(rows)
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.add, model, uploads, images, probabilities, embeddings)
        known = self.training_images.get(model.version.version) if nearest else None
        alike = known.nearest(embeddings, nearest) if known else None
        return _status(rows), _content(model, rows, alike)

    def _parsed(
        self, model: ServedModel, body: bytes, content_type: str
    ) -> tuple[list[Upload], list[DecodedUpload]]:
        """The images of a body; a single one is decoded at once, several are decoded by several threads."""
        uploads = bodies.uploads(body, content_type, self.limits)
        return uploads, [self._decode(model, uploads[0])] if len(uploads) == 1 else []

    def _decode(self, model: ServedModel, upload: Upload) -> DecodedUpload:
        return model.decode(upload, self.limits.max_pixels)

    async def _score(self, model: ServedModel, images: list[DecodedUpload]) -> tuple[Any, Any]:
        """Probabilities (N, classes) and embeddings (N, D); zero for unreadable images."""
        found = [number for number, image in enumerate(images) if image.pixels is not None]
        sizes = len(model.classes), model.predictor.embedding_size
        spread = [np.zeros((len(images), size), np.float32) for size in sizes]
        if found:
            pixels = np.stack([image.pixels for image in images if image.pixels is not None])
            for values, scores in zip(spread, await self.batcher.score(model, pixels), strict=True):
                values[found] = scores
        return spread[0], spread[1]

    async def _in_thread(self, work: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *values)

    def _swapped(self, model: ServedModel) -> None:
        self.monitoring.answering(model)
        self._embedding = asyncio.create_task(self._embed_training_images(model))

    async def _embed_training_images(self, model: ServedModel) -> None:
        if not self.with_training_images:
            return
        try:
            known = await asyncio.to_thread(
                similar.training_images, model, self.followed.workspace, lambda: self._is_needed(model)
            )
        except Exception as error:  # predictions do not need them
            log.warning("similar training images cannot be shown: %s", error)
            return
        if self._is_needed(model):
            self.training_images = {model.version.version: known} if known else {}

    def _is_needed(self, model: ServedModel) -> bool:
        return model is self.followed.current and not self.is_stopping

    async def _record_regularly(self) -> None:
        while self.recorder is not None:
            await asyncio.sleep(self.record_seconds)
            await asyncio.to_thread(self.recorder.write)


def _status(rows: list[dict[str, Any]]) -> HTTPStatus:
    """A single unreadable image is an error of its request; among several, it is one of the answers."""
    if len(rows) > 1 or rows[0]["problem"] is None:
        return HTTPStatus.OK
    is_too_large = rows[0]["problem"].startswith(TOO_LARGE)
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_too_large else HTTPStatus.UNPROCESSABLE_ENTITY


def _content(
    model: ServedModel, rows: list[dict[str, Any]], alike: list[list[dict[str, Any]]] | None
) -> dict[str, Any]:
    """The JSON of an answer."""
    kept = ("predicted_label", "predicted_class_name", "probability", "probabilities", "abstained", "problem")
    predictions = [{"name": row["path"], **{name: row[name] for name in kept}} for row in rows]
    for prediction, images in zip(predictions, alike or [], strict=False):
        picture = f"/training-images/{model.version.version}/"
        prediction["nearest"] = [
            {name: image[name] for name in ("path", "class_name", "similarity")}
            | {"picture": f"{picture}{image['row']}.png"}
            for image in (images if prediction["problem"] is None else [])
        ]
    content = {
        "dataset": model.version.dataset,
        "version": model.version.version,
        "decision": rows[0]["decision"],
        "threshold": model.request.threshold,
        "classes": list(model.classes),
        "predictions": predictions,
    }
    problem = rows[0]["problem"]
    return content | ({"error": problem} if len(rows) == 1 and problem else {})


def _number_of_nearest(request: Request) -> int:
    text = request.query_params.get("nearest", "0")
    if not text.isascii() or not text.isdecimal() or len(text) > 3 or int(text) > MOST_NEAREST:
        raise Refused(HTTPStatus.BAD_REQUEST, f"nearest must be a number from 0 to {MOST_NEAREST}")
    return int(text)
