"""Secrets in addresses: users with passwords, and signatures and tokens in queries.

An address is used whole by the process that was given it, and is known without its secrets everywhere else:
in messages, logs, names, manifests, tables and Prefect's parameters. `concealed` remembers the whole address
for `whole`, in this process only. So the same address with a new signature is the same address.
"""

import re
from urllib.parse import unquote, urlsplit

ADDRESS = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]+:/{1,3}(?:(?!::)[^\s"'<>])+""")
ACCOUNT_SCHEMES = ("abfs", "abfss", "az", "wasb", "wasbs", "github")  # what is before "@" is no user
# Keys of a query whose values let someone in, or change whenever they are made anew.
SECRET_KEY = re.compile(
    r"(^|[^a-z])(sig|key|code|pass|user|username|login|hash|hmac|jwt|sas|otp|policy)($|[^a-z])"
    r"|signature|token|secret|passw|pwd|auth(?!or)|credential|api.?key|access.?key|access.?id|expir|session"
    r"|^x-(amz|goog|oss|cos|ms)-|key-pair|ticket",
    re.IGNORECASE,
)
# Of a shared access signature of Azure: https://learn.microsoft.com/rest/api/storageservices/create-service-sas
AZURE_KEYS = frozenset(
    [
        "sv",
        "ss",
        "srt",
        "sp",
        "se",
        "st",
        "spr",
        "sr",
        "sip",
        "si",
        "sdd",
        "skoid",
        "sktid",
        "skt",
        "ske",
        "sks",
        "skv",
        "saoid",
        "suoid",
        "scid",
        "ses",
        "rscc",
        "rscd",
        "rsce",
        "rscl",
        "rsct",
    ]
)
SHORTEST = 4  # characters of a secret that is looked for in texts without an address

_whole: dict[str, str] = {}
_secrets: set[str] = set()


def concealed(address: str) -> str:
    """The address without its secrets; the whole one is remembered for `whole`.

    >>> concealed("https://ann:pw@host/pets.zip?id=7&sig=3xY")
    'https://host/pets.zip?id=7'
    """
    shown, secrets = _split(address)
    if shown != address:
        _whole[shown] = address
        _secrets.update(form for secret in secrets for form in (secret, unquote(secret)))
        _secrets.difference_update([short for short in _secrets if len(short) < SHORTEST])
    return shown


def whole(address: str) -> str:
    """The address with the secrets that this process was given; itself if there are none."""
    return _whole.get(address, address)


def is_readable(address: str) -> bool:
    """Whether an address can be taken apart; one with an open bracket cannot, nor http without host or port.

    >>> is_readable("zip://a::s3://bucket/b"), is_readable("http://[host/"), is_readable("http://host:99999/")
    (True, False, False)
    """
    try:
        parts = urlsplit(_split(address)[0])  # a password may have any sign in it
        # Reading the port checks it.
        return parts.scheme not in ("http", "https") or (bool(parts.hostname) and parts.port != -1)
    except ValueError:
        return False


def without_secrets(text: str) -> str:
    """A text without the secrets of the addresses in it, and without those that this process was given."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "...")
    if "://" not in text and ":/" not in text:
        return text
    return ADDRESS.sub(lambda match: _split(match[0])[0], text)


def _split(address: str) -> tuple[str, list[str]]:
    """An address without its secrets, and the secrets. Chained addresses of fsspec are split each."""
    parts = [_split_one(part) for part in address.split("::")]
    return "::".join(shown for shown, _ in parts), [secret for _, secrets in parts for secret in secrets]


def _split_one(address: str) -> tuple[str, list[str]]:
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}", address)
    if match is None:
        return address, []
    start, rest = match[0], address[match.end() :]
    rest, secrets = _without_user(match[1].lower(), rest)
    path, mark, query = rest.partition("?")
    if not mark:
        path, mark, query = rest.partition("#")
    kept, more = _without_secret_pairs(query)
    return start + path + (mark + kept if kept else "" if more else mark), secrets + more


def _without_user(scheme: str, rest: str) -> tuple[str, list[str]]:
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in host:
        # A password with an unescaped "/", "?" or "#" in it: what is behind the colon is no port.
        port = host.partition(":")[2]
        if not port or port.isdigit() or "@" not in rest or host.startswith("["):
            return rest, []
        host = rest[: rest.rindex("@") + 1]
    user, _, _ = host.rpartition("@")
    if scheme in ACCOUNT_SCHEMES and (":" not in user or scheme == "github"):
        return rest, []
    name, _, password = user.partition(":")
    return rest[len(user) + 1 :], [password or name]


def _without_secret_pairs(query: str) -> tuple[str, list[str]]:
    pairs = re.split(r"([&;#])", query)
    names = [pair.partition("=")[0] for pair in pairs]
    is_azure = "sig" in names
    kept, secrets = [], []
    for place in range(0, len(pairs), 2):
        name, equals, value = pairs[place].partition("=")
        if equals and (SECRET_KEY.search(unquote(name)) or (is_azure and name in AZURE_KEYS)):
            if len(value) >= 8:  # shorter ones are dates, versions and flags, which are no secrets in a text
                secrets.append(value)
            else:
                secrets.append("")
        else:
            kept.append((pairs[place - 1] if place else "") + pairs[place])
    text = "".join(kept)
    return (text[1:] if text[:1] in ("&", ";", "#") and secrets else text), secrets
