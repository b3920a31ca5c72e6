"""From Markdown to a page that prints well, and from the page to PDF by a browser that is on the machine."""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from labkit.errors import LabError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
SECONDS = 300
"""For the browser, on a busy machine."""


@cache
def template(name: str):
    """A template of this package; what goes into HTML is escaped."""
    loader, escaped = PackageLoader("course", "reporting"), name.endswith(".html.jinja")
    settings = {"trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined, "autoescape": escaped}
    return Environment(loader=loader, **settings).get_template(name)


def page(markdown: str, image: Callable[[str], bytes | None], title: str) -> str:
    """A whole HTML page of Markdown, in one file: what `image` gives for an image's address is put into the page.

    HTML in the Markdown is shown as text.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in (child for block in tokens for child in block.children or ()):
        if token.type == "image" and (content := image(str(token.attrs["src"]))) is not None:
            token.attrs["src"] = "data:image/png;base64," + base64.b64encode(content).decode()
    body = reader.renderer.render(tokens, reader.options, {})
    return template("page.html.jinja").render(title=title, body=Markup(body))


def browser() -> str | None:
    """Chromium, Chrome or Edge on this machine."""
    found = [path for path in map(shutil.which, BROWSERS) if path] + [path for path in PLACES if Path(path).is_file()]
    return found[0] if found else None


def pdf(html: str) -> bytes:
    """The page as the browser prints it.

    Raises:
        LabError: there is no such browser, or it fails.
    """
    program = browser()
    if program is None:
        raise LabError("PDF: needs Chromium, Chrome or Edge; write a .html and print it with the browser that you have")
    with tempfile.TemporaryDirectory(prefix="labkit-report-") as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(html, encoding="utf-8")
        command = [program, "--headless", "--disable-gpu", f"--user-data-dir={folder}/profile", "--no-first-run"]
        if sys.platform == "linux" and os.getuid() == 0:
            command.append("--no-sandbox")  # Chromium refuses root with it
        command += ["--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri()]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise LabError(f"PDF: {program} failed ({type(error).__name__}); write a .html and print it") from None
        if not target.is_file():
            last = (ended.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise LabError(f"PDF: {program} wrote none ({last[:200]}); write a .html and print it")
        return target.read_bytes()
