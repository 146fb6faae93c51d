"""The site as it is published, a server for it on this machine, and a browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.commands import site as site_command
from harness.session.options import SiteOptions

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def site(
    request: pytest.FixtureRequest, project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the site of what is published."""
    given: Path | None = request.config.getoption("--site")
    if given is not None:
        return given
    out = tmp_path_factory.mktemp("built") / "site"
    site_command.main(SiteOptions(project=project_root, out=out, quiet=True))
    return out


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve folders on this machine; return the address of each."""
    servers = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def address(site: Path, serve: Callable[[Path], str]) -> str:
    """Where the site is served."""
    return serve(site)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium of this machine, driven by Playwright."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: nox -s site has it", exc_type=ImportError
    )
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        pytest.skip("needs Chromium or Chrome, and there is none on the PATH")
    with api.sync_playwright() as driver:
        # a container's root cannot make the sandbox's namespaces; every page here is our own
        found = driver.chromium.launch(executable_path=program, chromium_sandbox=False)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that notes what it must not do: errors, failed requests, requests to elsewhere."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(f"error: {error}"))
    opened.on(
        "console",
        lambda said: faults.append(f"console: {said.text}") if said.type == "error" else None,
    )
    opened.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
    opened.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1:", "file:", "data:"))
            else faults.append(f"elsewhere: {request.url}")
        ),
    )
    opened.faults = faults
    yield opened
    context.close()
