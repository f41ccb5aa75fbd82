"""HTML pages from the templates in `templates/`."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"


def render(
    template: str, content: Mapping[str, Any], filters: Mapping[str, Callable[..., str]] | None = None
) -> str:
    """A page; values are escaped, and a name that the content lacks is an error.

    Args:
        template: File name in `templates/`, such as "report.html.j2".
        content: What the template shows, by name.
        filters: Functions that the template calls by name.
    """
    import jinja2  # a tenth of a second that a reused report does not need

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(template).render(content)


def template_digests(*names: str, folder: Path = TEMPLATES) -> dict[str, str]:
    """SHA-256 of each template: an ingredient of the pages made from it."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
