"""Runs the model on the images of concurrent requests together.

While the model computes, requests queue up; the next call takes all that wait, up to a limit. So no request
waits for others that may come, and under load a call has many images.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.serving.served_model import ServedModel

Floats = NDArray[np.float32]
Scores = tuple[Floats, Floats]


@dataclass(frozen=True)
class _Waiting:
    model: ServedModel
    images: NDArray[np.uint8]
    result: "asyncio.Future[Scores]"


class Batcher:
    """One queue and one thread for the model.

    Args:
        most: Most images in a call; requests with more images have a call of their own.
        observe: Is called with the number of images of each call.
    """

    def __init__(self, most: int, observe: Callable[[int], None] = lambda _: None) -> None:
        self._most, self._observe = most, observe
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")

    @property
    def images(self) -> int:
        """Number of images that wait."""
        return sum(len(each.images) for each in self._waiting)

    async def score(self, model: ServedModel, images: NDArray[np.uint8]) -> Scores:
        """Probabilities float32 (N, classes) and embeddings float32 (N, D) of uint8 (N, H, W, C), N > 0."""
        result: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(model, images, result))
        self._arrived.set()
        return await result

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._take():
                images = np.concatenate([each.images for each in batch])
                self._observe(len(images))
                try:
                    scores = await loop.run_in_executor(self._thread, batch[0].model.predictor.score, images)
                except Exception as error:  # of the model: these requests fail, the server goes on
                    _fail(batch, error)
                else:
                    _answer(batch, scores)

    def _take(self) -> list[_Waiting]:
        """The next requests of one model; empty if none waits."""
        batch: list[_Waiting] = []
        count = 0
        while self._waiting:
            first = self._waiting[0]
            if batch and (first.model is not batch[0].model or count + len(first.images) > self._most):
                break
            batch.append(self._waiting.popleft())
            count += len(first.images)
        return batch

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)


def _answer(batch: list[_Waiting], scores: Scores) -> None:
    start = 0
    for each in batch:
        end = start + len(each.images)
        if not each.result.done():
            each.result.set_result((scores[0][start:end], scores[1][start:end]))
        start = end


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for each in batch:
        if not each.result.done():
            each.result.set_exception(error)
