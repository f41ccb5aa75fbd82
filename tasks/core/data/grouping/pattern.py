"""Groups by a regular expression. Apart from `option`, so that the audit does not depend on readers."""

import re
from collections.abc import Sequence

Names = list[str | None]


def pattern_groups(paths: Sequence[str], pattern: re.Pattern[str]) -> Names:
    """The group of each path by a regular expression; None where it does not match.

    >>> pattern_groups(["a/p01_2.png", "a/x.png"], re.compile("(p[0-9]+)_"))
    ['p01', None]
    """
    key = "group" if "group" in pattern.groupindex else min(1, pattern.groups)
    matches = map(pattern.search, paths)
    return [(match[key] or None) if match else None for match in matches]
