"""A headless browser for the tests of pages, where the machine has one.

``GRADVIZ_BROWSER`` names the program; otherwise the PATH is asked for the usual ones.
"""

import os
import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
REMEDY = "no browser found: apt-get install chromium, or set GRADVIZ_BROWSER to one built on Chromium"


def browser_path():
    """Return the path of a browser, or None."""
    wanted = os.environ.get("GRADVIZ_BROWSER")
    return wanted or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser():
    """A browser that all tests of a module share."""
    path = browser_path()
    if path is None:
        pytest.skip(REMEDY)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@contextmanager
def opened(browser, file, *, size=(1400, 900), theme="light", **options):
    """Open a page; whatever it says on the console, throws, or asks the network for is an error."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme, **options)
    trouble = []
    context.on(
        "request", lambda request: None if request.url.startswith(("file:", "blob:")) else trouble.append(request.url)
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    try:
        page.goto(file.as_uri())
        yield page
        assert trouble == []
    finally:
        context.close()
