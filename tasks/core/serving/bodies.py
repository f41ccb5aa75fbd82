"""Reads the images of a request: raw bytes, multipart (RFC 7578) or JSON with base64."""

import asyncio
import base64
import binascii
import contextlib
import email
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from email.message import Message
from http import HTTPStatus

from starlette.requests import ClientDisconnect

from tasks.core.serving.settings import Admission, Limits, Refused

RAW, JSON, MULTIPART = "application/octet-stream", "application/json", "multipart/form-data"
MAX_BOUNDARY = 70  # characters; RFC 2046, section 5.1.1
DISCARD_SECONDS = 5
UNENCODED = ("binary", "8bit", "7bit")  # values of Content-Transfer-Encoding
SHOWN = 80  # characters of a header that an error repeats
MAX_NAME = 255  # characters of a file's name that are kept


@dataclass(frozen=True)
class Upload:
    """An encoded image of a request.

    Args:
        name: The file's name as the client gave it; empty if it gave none.
        content: The file's bytes.
        problem: Why there are no bytes; empty if there are.
    """

    name: str
    content: bytes
    problem: str = ""


class Body:
    """The body of a request.

    Args:
        stream: The body, in pieces.
        length: The header Content-Length, if there is one.
        limits: The limits.
    """

    def __init__(self, stream: AsyncIterator[bytes], length: str | None, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self._length = int(length) if length and length.isascii() and length.isdecimal() else 0
        self._is_read = False

    async def read(self, admission: Admission) -> bytes:
        """Read the body within its limits of bytes and time.

        Args:
            admission: Is told of each byte that is held. If this raises, they are given back; else the caller
                gives them back with `leave`.

        Raises:
            Refused: 413 for too many bytes, 408 for too much time, 503 if too many bytes are in memory.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await self._read_into(body, admission)
        except BaseException as error:
            admission.bytes -= len(body)
            if isinstance(error, TimeoutError):
                self._is_read = True  # there is nothing to wait for
                reason = f"the body did not arrive within {self._limits.body_seconds:g} s"
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, reason) from error
            raise
        return bytes(body)

    async def _read_into(self, body: bytearray, admission: Admission) -> None:
        if self._length > self._limits.max_bytes:
            raise too_large(self._limits)
        async for piece in self._stream:
            if len(body) + len(piece) > self._limits.max_bytes:
                raise too_large(self._limits)
            admission.hold(len(piece))
            body += piece
        self._is_read = True

    async def discard(self) -> None:
        """Read what is left of a refused body, for a few seconds, and keep none of it.

        A connection that is closed before its data are read is reset, and the client may lose the answer.
        """
        if self._is_read:
            return
        with contextlib.suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(DISCARD_SECONDS):
                async for _ in self._stream:
                    pass


def too_large(limits: Limits) -> Refused:
    """The refusal of a body of too many bytes."""
    reason = f"the body has more than {limits.max_bytes:,} bytes"
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)


def media_type(content_type: str) -> str:
    """The type without parameters, in lower case.

    Raises:
        Refused: 415 if no image can come in it.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (RAW, JSON, MULTIPART) or kind.startswith("image/"):
        return kind
    raise Refused(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"expected image/*, {RAW}, {MULTIPART} or {JSON}; found {kind[:SHOWN] or 'no Content-Type'}",
    )


def refuse_encoding(content_encoding: str) -> None:
    """Refuse a compressed body.

    Raises:
        Refused: 415, which RFC 9110 has for it.
    """
    if content_encoding.strip().lower() not in ("", "identity"):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected a body without Content-Encoding; found {content_encoding[:SHOWN]}",
        )


def uploads(body: bytes, content_type: str, limits: Limits) -> list[Upload]:
    """The images of a body, at least one.

    Args:
        body: The whole body.
        content_type: The header Content-Type.
        limits: The limits.

    Raises:
        Refused: 400 for a body that is not what its type says; 413 for too many images.
    """
    kind = media_type(content_type)
    if kind == JSON:
        found = _from_json(body, limits)
    elif kind == MULTIPART:
        found = _from_multipart(body, content_type, limits)
    else:
        found = [Upload("", body)]
    if not found:
        raise _bad("no image in the body" + "; a part of a form needs a filename" * (kind == MULTIPART))
    if len(found) > limits.max_images:
        reason = f"{len(found)} images in a request, the limit is {limits.max_images}"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
    return found


def _bad(reason: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, reason)


def _from_json(body: bytes, limits: Limits) -> list[Upload]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("the body is no JSON") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise _bad('expected {"images": [base64, ...]}')
    return [_decoded(image) for image in images[: limits.max_images + 1]]


def _decoded(text: str) -> Upload:
    """A base64 text, also one of several lines as `base64` and MIME encoders write it, or a data: address."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return Upload("", base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        return Upload("", b"", problem="not base64")


def _from_multipart(body: bytes, content_type: str, limits: Limits) -> list[Upload]:
    """The files of a form; fields without a file name are left out."""
    boundary = _boundary(content_type)
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise _bad("multipart without a boundary")
    # More parts than this are not looked at: a body may consist of boundaries.
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), 2 * limits.max_images + 2)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise _bad("multipart without its last boundary, or of too many parts")
    return [upload for part in parts[1:-1] if (upload := _file(part)) is not None]


def _boundary(content_type: str) -> str:
    header = Message()
    header["Content-Type"] = content_type
    with _told_as("multipart without a boundary"):
        boundary = header.get_param("boundary")
    return boundary if isinstance(boundary, str) else ""


@contextlib.contextmanager
def _told_as(reason: str) -> Iterator[None]:
    """Refuse what the parser of the standard library fails on, such as numbered parameters of RFC 2231."""
    try:
        yield
    except (TypeError, ValueError, LookupError) as error:
        raise _bad(reason) from error


def _file(part: bytes) -> Upload | None:
    headers, blank, content = part.lstrip(b" \t").partition(b"\r\n\r\n")
    if not blank or not headers.startswith(b"\r\n"):
        raise _bad("a part of the multipart body has no header")
    if len(headers) > 8192:
        raise _bad("a part of the multipart body has a header that is too long")
    text = headers[2:].decode("utf-8", "replace")  # as browsers write names
    with _told_as("a part of the multipart body has a header that cannot be read"):
        header = email.message_from_string(f"{text}\r\n\r\n")
        name = header.get_filename()
    if name is None:
        return None
    name = name[:MAX_NAME].encode("utf-8", "replace").decode()
    encoding = str(header.get("Content-Transfer-Encoding", "binary")).strip().lower()
    if (
        encoding == "base64"
    ):  # RFC 7578, section 4.7, deprecates it; `curl -F "file=@a.png;encoder=base64"` sends it
        return replace(_decoded(content.decode("latin-1")), name=name)
    if encoding not in UNENCODED:
        raise _bad(f"expected a part in {', '.join(UNENCODED)} or base64; found {encoding[:SHOWN]}")
    return Upload(name, content)
