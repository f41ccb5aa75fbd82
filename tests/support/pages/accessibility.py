"""Checks pages with axe-core in a headless Chromium: the serious findings, light and dark, desktop and phone.

axe-core is not part of the project: `npm install axe-core` in any folder, and name its file in PLUMBLINE_AXE.

    export PLUMBLINE_AXE=node_modules/axe-core/axe.min.js
    python -m tests.support.pages.accessibility workspace/reports/*/*.html
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.support.pages import chromium
from tests.support.pages.chromium import Chromium

VARIABLE = "PLUMBLINE_AXE"
LEVELS = ("serious", "critical")
SIZES = {"desktop": 1200, "phone": 390}
RUN = """
axe.run(document, {resultTypes: ["violations"]}).then(found => JSON.stringify(found.violations.map(
  rule => [rule.impact, rule.id, rule.help, rule.nodes.map(node => node.target.join(" ")).slice(0, 3)])))
"""


def axe() -> Path | None:
    """The file that the variable names, or that of the current folder's `node_modules`; None without one."""
    path = Path(os.environ.get(VARIABLE, "node_modules/axe-core/axe.min.js"))
    return path if path.is_file() else None


def problem() -> str:
    """Why pages cannot be checked here; empty if they can."""
    if chromium.find() is None:
        return "no Chromium is installed"
    return "" if axe() else f"{VARIABLE} names no axe-core: npm install axe-core"


def findings(browser: Chromium, address: str, levels: tuple[str, ...] = LEVELS) -> list[str]:
    """What axe finds on a page at these levels, one line each."""
    source = axe()
    assert source is not None, problem()
    browser.open(address)
    lines = []
    for scheme in ("light", "dark"):
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", features=media)
        for size, width in SIZES.items():
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
            browser.call("Emulation.setDeviceMetricsOverride", **screen)
            browser.value(source.read_text(encoding="utf-8") + "\n;0")
            for impact, rule, text, nodes in json.loads(browser.value(RUN)):
                if impact in levels:
                    lines.append(f"{scheme}, {size}: {impact} {rule}: {text}: {', '.join(nodes)}")
    return lines


def main(pages: list[str]) -> int:
    """Print the findings of pages, at all levels; 1 if one is serious."""
    if reason := problem():
        print(reason)
        return 2
    executable, serious = chromium.find(), False
    assert executable is not None
    with tempfile.TemporaryDirectory() as folder, Chromium(executable, Path(folder) / "browser") as browser:
        for page in pages:
            address = page if "://" in page else Path(page).resolve().as_uri()
            found = findings(browser, address, ("minor", "moderate", *LEVELS))
            print(f"{page}: {len(found)} findings", *found, sep="\n  ")
            serious |= any(level in line.split(": ")[1] for line in found for level in LEVELS)
    return int(serious)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
