"""What every browser test may use: the real server, a real browser, visits, axe and pictures.

ADVISOR_BROWSER is the path of a Chromium; without it these tests are skipped. Pictures go to the folder
ADVISOR_SCREENSHOTS, or to pytest's own.
"""

import os
import re
from pathlib import Path

import pytest

from .served import page_server
from .visits import Visits, grave_violations, picture, told

BROWSER = os.environ.get("ADVISOR_BROWSER")
HERE = Path(__file__).parent
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    # whatever the page asks of other hosts fails at once, and is seen
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(BROWSER is None, reason="ADVISOR_BROWSER names no Chromium"))


@pytest.fixture(scope="package")
def server(shipped_home, tmp_path_factory):
    """The address of the page, served on all shipped rows."""
    with page_server(shipped_home, tmp_path_factory.mktemp("served")) as address:
        yield address


@pytest.fixture(scope="package")
def browser(tmp_path_factory):
    # not at the top: the plain tests run without Playwright
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    home = str(tmp_path_factory.mktemp("browser-home"))
    own = os.environ | {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS, env=own)
        yield program
        program.close()


@pytest.fixture
def visit(browser, server):
    """Open the page: `visit(query, width, height, theme)`; `visit.heard(page)` is what went on meanwhile."""
    visits = Visits(browser, server)
    yield visits
    visits.close()


@pytest.fixture
def violations():
    """What axe finds serious or critical on a page."""
    return grave_violations


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    folder = os.environ.get("ADVISOR_SCREENSHOTS")
    return Path(folder) if folder else tmp_path_factory.mktemp("screenshots")


@pytest.fixture
def screenshot(pictures):
    """Keep a picture: `screenshot(page, name)`, or the page in its whole height with `whole=True`."""
    return lambda page, name, **how: picture(page, pictures / f"{name}.png", **how)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    visits = getattr(item, "funcargs", {}).get("visit")
    if call.when == "call" and report.failed and isinstance(visits, Visits):
        folder = item._request.getfixturevalue("pictures")
        name = "failed-" + re.sub(r"\W+", "-", item.name).strip("-")
        report.sections.append(("the browser", told(visits, folder, name)))
    return report
