"""Visits of the page: a fresh browser context each, waited for until it rests, and what is heard meanwhile.

It knows Playwright and axe; what is where on the page is in `parts`.
"""

import importlib.resources
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlencode, urlsplit

from .parts import APP, MAIN, RESTING

REST_MS = 30_000
CALM_MS = 300
"""How long the page has to rest: a change of a widget reaches the script a moment after the click."""
GRAVE = {"serious", "critical"}


@dataclass
class Heard:
    """What a page asked for and complained about, from its first byte on."""

    addresses: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def listen(self, page):
        page.on("request", lambda request: self.addresses.append(request.url))
        page.on("websocket", lambda socket: self.addresses.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("requestfailed", lambda one: self.errors.append(f"failed: {one.url} ({one.failure})"))
        page.on(
            "console",
            lambda said: said.type == "error" and self.errors.append(f"console: {said.text} {said.location}"),
        )

    def hosts(self):
        """Every host that was asked, with what is no network at all left out (`data:`, `blob:`)."""
        places = (urlsplit(address) for address in self.addresses)
        return {place.hostname for place in places if place.scheme not in {"data", "blob"}}


class Visits:
    """Calling it opens the page; the pages stay open until `close`, for pictures of what failed."""

    def __init__(self, browser, address):
        self.browser, self.address, self.opened = browser, address, {}

    def __call__(self, query="", width=1366, height=768, theme="light"):
        """The page at a link, at rest; `query` stands behind the question mark, in one piece or by name."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,  # the page follows the system's choice, as a person's browser reports it
            permissions=["clipboard-read", "clipboard-write"],
            reduced_motion="reduce",
        )
        page = context.new_page()
        self.opened[page] = Heard()
        self.opened[page].listen(page)
        words = query if isinstance(query, str) else urlencode(query)
        page.goto(f"{self.address}/?{words}" if words else f"{self.address}/")
        settle(page)
        return page

    def heard(self, page):
        return self.opened[page]

    def close(self):
        for page in self.opened:
            page.context.close()


def settle(page):
    """Wait until the page has rested for a moment; after every click and every word typed."""
    page.wait_for_selector(APP, timeout=REST_MS)
    page.evaluate("() => { window.restingSince = null }")
    page.wait_for_function(
        f"""() => {{
          const now = performance.now();
          if (!({RESTING})()) window.restingSince = null;
          else window.restingSince ??= now;
          return window.restingSince !== null && now - window.restingSince >= {CALM_MS};
        }}""",
        polling=50,
        timeout=REST_MS,
    )


@cache
def axe():
    """axe-core's own script; the package around it is not used."""
    return (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def grave_violations(page):
    """What axe finds serious or critical, a line for each element."""
    page.evaluate(axe())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:160]} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def picture(page, path, *, whole=False):
    """The page as it is seen; `whole`: as tall as what it holds, for Streamlit scrolls inside a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seen = page.viewport_size
    if whole:
        tall = page.evaluate(f"() => document.querySelector('{MAIN}').scrollHeight")
        page.set_viewport_size({**seen, "height": max(seen["height"], tall)})
        settle(page)
    page.screenshot(path=path, animations="disabled", caret="hide")
    if whole:
        page.set_viewport_size(seen)
    return path


def told(visits, folder, name):
    """What is known of every open page, and a picture of each, for the report of a failed test."""
    lines = []
    for number, (page, heard) in enumerate(visits.opened.items(), start=1):
        lines.append(f"page {number}: {page.url}")
        lines.extend(f"  {error}" for error in heard.errors)
        with suppress(Exception):  # the report of the failure matters more than its picture
            lines.append(f"  seen: {picture(page, folder / f'{name}-{number}.png')}")
    return "\n".join(lines)
