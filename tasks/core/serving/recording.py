"""Writes the answers of requests to a folder of predictions, as `plumbline predict` writes its own.

Rows are collected and written as one batch, which appears with all its rows: a kill loses the rows since the
last batch, and never leaves a part of one. With the images kept, too, the paths of the rows are their files.
"""

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.inference import output_folder, prediction_table
from tasks.core.data.inference.images import ImageBatch
from tasks.core.data.inference.inputs import IMAGE, InputChunk
from tasks.core.errors import PlumblineError
from tasks.core.serving.bodies import Upload
from tasks.core.serving.served_model import DecodedUpload, ServedModel
from tasks.core.storage import atomic

Floats = NDArray[np.float32]
log = logging.getLogger("plumbline.serve")
ROWS = 4096  # rows that are written at once, at most
IMAGES = "_images"  # folder of kept images; readers of parquet folders ignore names that begin with _
PREFIX = "request://"  # begins the path of an image that is not kept


@dataclass(frozen=True)
class _Answer:
    model: ServedModel
    image: DecodedUpload
    bytes: int
    probabilities: Floats
    embedding: Floats


class Recorder:
    """Collects rows until they are written. What cannot be written is told, and raises nothing.

    Args:
        out: The folder, new or with earlier predictions.
        keep_images: Whether the encoded images are written to `out/_images`, named by their SHA-256.

    Attributes:
        problems: Why something cannot be written, by what it is.
    """

    def __init__(self, out: Path, keep_images: bool = False) -> None:
        self.out, self.keep_images = out, keep_images
        self.problems: dict[str, str] = {}
        self._answers: list[_Answer] = []
        self._collecting, self._writing = threading.Lock(), threading.Lock()
        self._keeping = [threading.Lock() for _ in range(16)]  # one for each first digit of a name

    def check(self) -> None:
        """Make the folder before requests come.

        Raises:
            UsageError: It has other files, or is a file.
            OSError: It cannot be written to.
        """
        output_folder.check(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.out):
            pass

    def add(
        self,
        model: ServedModel,
        uploads: Sequence[Upload],
        images: Sequence[DecodedUpload],
        probabilities: Floats,
        embeddings: Floats,
    ) -> None:
        """Add the answers of a request. A row whose image cannot be kept has the path of one without.

        Args:
            model: Who answered.
            uploads: N encoded images.
            images: The same, decoded.
            probabilities: float32 (N, classes).
            embeddings: float32 (N, D).
        """
        answers = [
            _Answer(model, replace(image, name=self._path(upload)), len(upload.content), *scores)
            for upload, image, *scores in zip(uploads, images, probabilities, embeddings, strict=True)
        ]
        with self._collecting:
            self._answers += answers
            is_full = len(self._answers) >= ROWS
            if "rows" in self.problems:  # the next attempt is the regular one: requests do not wait for it
                self._answers, is_full = self._answers[-ROWS:], False
        if is_full:
            self.write()

    def write(self) -> None:
        """Write what was collected; one batch for each version that answered."""
        with self._writing:
            with self._collecting:
                answers, self._answers = self._answers, []
            if not self._attempt("rows", lambda: self._write_all(answers)):
                with self._collecting:  # the next attempt has these rows, too
                    self._answers = [*answers, *self._answers][-ROWS:]

    def _attempt(self, what: str, work: Callable[[], object]) -> bool:
        """Whether something can be written; why not is told. Requests are answered all the same."""
        try:
            work()
        except Exception as error:  # a full disk, a file in place of the folder, ...
            reason = error.summary if isinstance(error, PlumblineError) else str(error)
            if self.problems.get(what) != reason:
                log.warning("%s cannot be written: %s", what, reason)
            self.problems[what] = reason
            return False
        self.problems.pop(what, None)
        return True

    def _path(self, upload: Upload) -> str:
        name = hashlib.sha256(upload.content).hexdigest()
        if not self.keep_images:
            return f"{PREFIX}{name}"
        path = self.out / IMAGES / f"{name}{_suffix(upload.content)}"
        is_kept = self._attempt("images", lambda: self._keep(path, upload.content))
        return str(path) if is_kept else f"{PREFIX}{name}"

    def _keep(self, path: Path, content: bytes) -> None:
        with self._keeping[int(path.name[0], 16)]:  # two requests may bring the same image
            if not path.exists():
                atomic.write_bytes(path, content)

    def _write_all(self, answers: Sequence[_Answer]) -> None:
        for version in dict.fromkeys(answer.model.version for answer in answers):
            self._write([answer for answer in answers if answer.model.version == version])

    def _write(self, answers: Sequence[_Answer]) -> None:
        from tasks.core.model.inference import predict_batch

        model = answers[0].model
        now = datetime.now(UTC).isoformat()
        chunks = (InputChunk(each.image.name, IMAGE, 1, each.bytes, now) for each in answers)
        images = _image_batch(answers, model.version.shape)
        probabilities = np.stack([each.probabilities for each in answers])
        embeddings = np.stack([each.embedding for each in answers])
        with prediction_table.locked_folder(self.out):
            keyed = ((chunk, chunk.key) for chunk in chunks)
            batch = prediction_table.create_batch(self.out, model.request, keyed, len(answers))
            if batch is not None:  # a batch of one row or more
                predict_batch.write_predicted(batch, model.version, images, probabilities, embeddings)
                batch.finish(batch.counts())


def _image_batch(answers: Sequence[_Answer], shape: tuple[int, int, int]) -> ImageBatch:
    batch = ImageBatch.empty(len(answers), shape)
    for number, answer in enumerate(answers):
        if answer.image.pixels is not None:
            batch.images[number] = answer.image.pixels
        batch.sizes[number] = answer.image.size
        batch.paths.append(answer.image.name)
        batch.rows.append(None)
        batch.problems.append(answer.image.problem)
    return batch


def _suffix(content: bytes) -> str:
    """The suffix of an image's format; ".bin" of one that is not known."""
    starts = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp", b"RIFF": ".webp"}
    return next((suffix for start, suffix in starts.items() if content.startswith(start)), ".bin")
