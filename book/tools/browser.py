"""Chromium and a server of local files, for the tests of live pages.

A test module asks for the fixtures with `pytest_plugins = ["browser"]`, and
imports the rest. Nothing is downloaded: the browser is the system's.

PYTEST_DONT_REWRITE: pytest would warn of a plugin that is imported before.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: No sandbox: containers and root have none, and all pages are our own.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
)


class Files(SimpleHTTPRequestHandler):
    """Serves a folder, modules as JavaScript, and logs nothing."""

    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }

    def log_message(self, *args) -> None:
        pass


@contextmanager
def serve(
    folder: str | os.PathLike, handler: type[Files] = Files
) -> Iterator[str]:
    """Serve a folder on a free local port.

    Args:
        folder: what `/` is.
        handler: answers the requests.

    Yields:
        The address, without a slash at the end.
    """
    root = str(Path(folder).resolve(strict=True))

    class Rooted(handler):  # type: ignore[misc, valid-type]  # an argument
        def __init__(self, *args):
            super().__init__(*args, directory=root)

    with ThreadingHTTPServer(("127.0.0.1", 0), Rooted) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def find_chromium() -> str:
    """Its path. Without one, skip; fail if VITSD_REQUIRE_BROWSER is 1."""
    for found in filter(None, map(shutil.which, NAMES)):
        return found
    message = f"none of {', '.join(NAMES)} is installed: apt install chromium"
    if os.environ.get("VITSD_REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    pytest.skip(f"{message} (VITSD_REQUIRE_BROWSER=1 makes this a failure)")


@pytest.fixture(scope="module")
def chromium():
    """A running Chromium.

    One for each module: as long as Playwright runs, the thread has a running
    event loop, in which `asyncio.run` of another module would fail.
    """
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=list(FLAGS)
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """An empty page; an error that it does not catch fails the test."""
    context = chromium.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    if errors:
        pytest.fail(f"uncaught in the page: {'; '.join(errors)}")
