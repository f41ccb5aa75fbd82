"""`plumbline serve`: answers requests with a published model, over HTTP."""

import logging
from functools import partial
from pathlib import Path

from rich.text import Text

from tasks.core.errors import UsageError
from tasks.core.operations import environment
from tasks.core.registry import registry
from tasks.core.serving.settings import Limits
from tasks.core.storage.workspaces import open_existing
from tasks.core.workspace import Workspace, expanded
from tasks.display import console


def serve(
    dataset: str | None = None,
    version: str = registry.CHAMPION,
    host: str = "127.0.0.1",
    port: int = 8000,
    allowed_host: list[str] | None = None,
    abstain: float | None = None,
    threshold: float | None = None,
    no_operating_point: bool = False,
    record: Path | None = None,
    record_images: bool = False,
    record_seconds: float = 60.0,
    predict_only: bool = False,
    poll_seconds: float = 5.0,
    max_batch: int = 32,
    queue: int = Limits.queue,
    max_bytes: int = Limits.max_bytes,
    max_pixels: int = Limits.max_pixels,
    max_images: int = Limits.max_images,
    body_seconds: float = Limits.body_seconds,
    workspace: Path | None = None,
) -> None:
    """Answer requests with a published model, over HTTP.

    The page at / takes an image. POST /v1/predict takes one or more, /health, /metadata and /metrics say how
    the server is. A new champion answers without a restart. Ctrl-C or SIGTERM ends the server after the
    requests in progress. It has no passwords and no TLS: docs/serve.md shows a proxy before it.

    Args:
        dataset: The dataset of the model. Default: the only one with a published model.
        version: A version (v0003), which stays, or an alias (champion, previous), which is followed.
        host: The address to listen on. 0.0.0.0 answers other machines, too.
        port: The port; 0 takes a free one.
        allowed_host: A further host name that is answered, such as that of a proxy. May be repeated. On
            another address than 127.0.0.1, all names are answered unless one is given.
        abstain: Give no answer to images of low confidence, so that the error rate of the answers stays below
            this rate: 0.01, 0.02, 0.05 or 0.1. The validation images must support a threshold for it.
        threshold: Instead of --abstain, the confidence, 0 to 1, below which no answer is given.
        no_operating_point: Predict the most probable class, although the model has an operating point.
        record: Add a row for each image to this folder of parquet files, as `plumbline predict` does.
        record_images: Keep the images themselves, too, in the folder _images of --record.
        record_seconds: Seconds between two batches of rows; a kill loses at most these rows.
        predict_only: Leave out the pages of the workspace and the training images.
        poll_seconds: Seconds between two looks at the alias.
        max_batch: Most images of concurrent requests in one call of the model.
        queue: Most requests in progress; further ones get 503.
        max_bytes: Largest body of a request.
        max_pixels: Most pixels of an image.
        max_images: Most images in a request.
        body_seconds: Seconds until the body of a request must have arrived.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    limits = Limits(max_bytes, max_pixels, max_images, queue, body_seconds=body_seconds)
    _check(limits, max_batch, poll_seconds, record_seconds, record_images and record is None)
    opened = open_existing(workspace)
    name = _dataset(dataset, opened)
    environment.prepare()
    # Imported here: the help needs no web server.
    from tasks.core.serving import app, http_server, pages
    from tasks.core.serving.champion import FollowedModel
    from tasks.core.serving.recording import Recorder
    from tasks.core.serving.served_model import DecisionOptions
    from tasks.core.serving.service import Service

    recorder = Recorder(expanded(record).absolute(), record_images) if record else None
    listening = http_server.listen(host, port)
    if recorder is not None:
        recorder.check()
    options = DecisionOptions(abstain, threshold, no_operating_point)
    service = Service(
        FollowedModel(name, version, options, opened),
        limits,
        max_batch,
        poll_seconds,
        recorder,
        record_seconds,
        with_training_images=not predict_only,
    )
    application = app.create_app(service, partial(pages.add_predict_page, with_workspace=not predict_only))
    names = http_server.hosts_of(host, allowed_host)
    _say(f"{name} {service.followed.current.version.version}", host, listening.getsockname()[1])
    http_server.serve(http_server.create_server(application, names, limits.header_seconds), listening)
    console.log.info("stopped")


def _check(
    limits: Limits, max_batch: int, poll_seconds: float, record_seconds: float, images_nowhere: bool
) -> None:
    least = {
        "--max-batch": max_batch,
        "--queue": limits.queue,
        "--max-bytes": limits.max_bytes,
        "--max-pixels": limits.max_pixels,
        "--max-images": limits.max_images,
    }
    for option, value in least.items():
        if value < 1:
            raise UsageError(f"{option} is out of range", expected="1 or more", found=f"{value}")
    seconds = {
        "--poll-seconds": poll_seconds,
        "--record-seconds": record_seconds,
        "--body-seconds": limits.body_seconds,
    }
    for option, duration in seconds.items():
        if not 0.1 <= duration <= 86_400:
            raise UsageError(f"{option} is out of range", expected="0.1 to 86400", found=f"{duration:g}")
    if images_nowhere:
        raise UsageError("--record-images needs --record", expected="--record FOLDER")


def _dataset(dataset: str | None, workspace: Workspace) -> str:
    """The dataset that is meant.

    Raises:
        UsageError: None is named, and there is not exactly one.
    """
    if dataset is not None:
        return dataset
    names = registry.datasets(workspace)
    if len(names) != 1:
        raise UsageError(
            "no dataset is named" if names else f"{workspace.root} has no published model",
            expected="--dataset" if names else "a workspace with a published model",
            found=", ".join(names),
            done="nothing was started",
            todo="add --dataset NAME" if names else "`plumbline train` publishes the first one",
        )
    return names[0]


def _say(model: str, host: str, port: int) -> None:
    from tasks.core.serving import http_server

    logging.getLogger("plumbline").setLevel(logging.INFO)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    console.console.print(Text(f"{model} answers; Ctrl-C ends the server"))
    console.console.print(Text(f"{address}/", style="bold"))
    console.console.print(
        Text(f"curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg {address}/v1/predict")
    )
    if not http_server.is_local(host):
        console.log.warning("%s can be reached from other machines: it has no passwords and no TLS", host)
