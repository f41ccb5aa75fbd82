"""Renders HTML pages from the templates in `templates/`."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.core import shares

TEMPLATES = Path(__file__).parent / "templates"


def render(
    template: str, content: Mapping[str, Any], filters: Mapping[str, Callable[..., str]] | None = None
) -> str:
    """Render a page. Values are escaped; an undefined name in the template is an error.

    Args:
        template: File name in `templates/`, such as "report.html.j2".
        content: The values for the template, by name.
        filters: Filter functions for the template, by name.
    """
    import jinja2  # imported here: it takes 0.1 s, and a reused report does not need it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "counted": shares.counted} | dict(filters or {})
    return environment.get_template(template).render(content)


def breakable(path: str) -> str:
    """A path as HTML that a narrow column breaks at its slashes first.

    >>> str(breakable("test/a&b.png"))
    'test/<wbr>a&amp;b.png'
    """
    from markupsafe import Markup, escape  # comes with jinja2

    return Markup("/<wbr>").join(map(escape, path.split("/")))


def template_digests(*names: str, folder: Path = TEMPLATES) -> dict[str, str]:
    """SHA-256 of each template; an ingredient of the pages that use it."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
