"""How a share is written for people: `99.20 %`, and a number of things: `1 image`.

Every page, table and message writes its shares here, so that one figure looks the same everywhere.
"""

DIGITS = 2  # behind the point
MOST_DIGITS = 4  # of a share that fewer would show as none or all


def percent(share: float, digits: int = DIGITS) -> str:
    """A share in per cent.

    >>> percent(0.992), percent(0.99996), percent(1.0), percent(0.5, digits=0)
    ('99.20 %', '99.996 %', '100.00 %', '50 %')
    """
    return f"{number(share, digits)} %"


def unbroken_percent(share: float, digits: int = DIGITS) -> str:
    """As `percent`, on one line with its sign: with a no-break space."""
    return percent(share, digits).replace(" ", "\N{NO-BREAK SPACE}")


def number(share: float, digits: int = DIGITS) -> str:
    """A share times 100; no share below 1 is rounded to 100, and none above 0 to 0.

    Args:
        share: 0..1.
        digits: Behind the point, more where these would show another share as 0 or 100.
    """
    shown = f"{share * 100:.{digits}f}"
    if 0 < share < 1 and float(shown) in (0, 100):
        exact = (f"{share * 100:.{more}f}" for more in range(digits + 1, MOST_DIGITS + 1))
        return next((text for text in exact if float(text) not in (0, 100)), shown)
    return shown


def interval(low: float, high: float) -> str:
    """Both ends of an interval, times 100.

    >>> interval(0.9712, 0.995)
    '97.12 to 99.50'
    """
    return f"{number(low)} to {number(high)}"


def said(count: int, one: str, more: str) -> str:
    """A number with what it counts: `one` for a single one.

    >>> said(1, "pair has", "pairs have"), said(2000, "pair has", "pairs have")
    ('1 pair has', '2,000 pairs have')
    """
    return f"{count:,} {one if count == 1 else more}"


def counted(count: int, noun: str) -> str:
    """A number with a noun whose plural is regular; the noun may have words before it.

    >>> counted(1, "test image"), counted(2000, "test image"), counted(0, "class")
    ('1 test image', '2,000 test images', '0 classes')
    """
    return said(count, noun, f"{noun}es" if noun.endswith("s") else f"{noun}s")
