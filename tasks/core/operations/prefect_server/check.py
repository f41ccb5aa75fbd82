"""Whether the Prefect server that the user named is there, before any stage runs.

Prefect itself finds out when the flow begins: after the imports, and with some 300 lines of traceback.
"""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from tasks.core.addresses import without_secrets
from tasks.core.errors import ServerError

TIMEOUT = 5.0  # seconds in which a server answers its health check, also a busy one
REFUSES_STRANGERS = {401, 403}  # it asks for a password, which Prefect has and this check has not
SHOWN = 60  # characters of an unexpected answer


def check(address: str, default: str) -> None:
    """Refuse an address at which no Prefect server answers.

    A server whose certificate this check does not know is left to Prefect, which has settings for it.

    Args:
        address: The address as the user set it, such as "http://team:4200/api".
        default: The address of `make dashboard` on this machine.

    Raises:
        ServerError: There is no server, it is none of Prefect's, or it does not answer within `TIMEOUT`.
    """
    if found := _why_unusable(address):
        hint = _address_with_api(address)
        raise ServerError(
            f"no Prefect server answers at {without_secrets(address)}",
            expected=f"an address such as {default}, whose {default}/health answers true",
            found=found,
            done="nothing was started",
            todo=(f"set PREFECT_API_URL={hint}, or " if hint else "")
            + "start a server with `make dashboard`, or unset PREFECT_API_URL (also in Prefect's profile:"
            " `prefect config unset PREFECT_API_URL`) for a temporary one",
        )


def _why_unusable(address: str) -> str:
    """What is wrong with an address; empty if a Prefect server answers there."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError as error:
        return f"an address that cannot be read: {error}"
    if not usable:
        return "an address without http:// or https:// and a host"
    try:
        health = f"{without_secrets(address).rstrip('/')}/health"
        with urllib.request.urlopen(health, timeout=TIMEOUT) as response:
            return _why_unhealthy(response)
    except urllib.error.HTTPError as error:
        refused = error.code in REFUSES_STRANGERS
        return "" if refused else f"{error.code} {error.reason}: another program, or not its address"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _why_unreachable(error)


def _why_unhealthy(response: http.client.HTTPResponse) -> str:
    content = response.read(1 << 12)
    try:
        json.loads(content)
    except ValueError:
        text = " ".join(content[:SHOWN].decode(errors="replace").split())
        return f"an answer that is not one of Prefect's: {text!r}"
    return ""


def _why_unreachable(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLError):
        return ""
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return text or type(reason).__name__


def _address_with_api(address: str) -> str:
    """The address with /api if a server answers there: the dashboard's own address lacks it."""
    if not address.startswith(("http://", "https://")) or address.rstrip("/").endswith("/api"):
        return ""
    candidate = f"{address.rstrip('/')}/api"
    return "" if _why_unusable(candidate) else candidate
