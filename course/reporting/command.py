"""The command `course report`."""

from pathlib import Path
from typing import Annotated

import typer

from labkit.errors import LabError

KINDS = (".md", ".html", ".pdf")


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or weights files; or one report.md to be printed.")],
    out: Annotated[Path, typer.Option(help="The report: .md, .html or .pdf.")] = Path("report.html"),
    data: Annotated[str | None, typer.Option(help="The images for the masks; default: those of the scores.")] = None,
) -> None:
    """Write the lab's report from your own runs, section by section as the lab asks.

    Tables, curves and masks are filled in, networks compared with intervals. What you have to write is marked by its
    question. The comfortable way: make a `.md`, write your text into it, and print that.

    A PDF is printed by Chromium, Chrome or Edge, whichever is there.

    Examples:

    `course report runs/unet runs/resnet --out report.md`; `course report report.md --out report.pdf`

    `course report runs/unet-0 runs/unet-1 runs/resnet-0 runs/resnet-1 --out report.html`
    """
    from course.reporting import content, pages
    from labkit.files import check_targets, written_whole

    if out.suffix not in KINDS:
        raise LabError(f"{out}: a report is one of {', '.join(KINDS)}; choose another name")
    written = [path for path in runs if path.suffix == ".md"]
    if written and (len(runs) > 1 or out.suffix == ".md"):
        raise LabError("course report: one report.md becomes a .html or .pdf; else name runs")
    files: dict[Path, bytes] = {}
    if written:
        (source,) = written
        if not source.is_file():
            raise LabError(f"{source}: no such file")
        check_targets([out], runs)
        markdown = source.read_text(encoding="utf-8")
        images = _beside(source.parent)
    else:
        check_targets([out])
        found = content.report(runs, data, out)
        markdown = pages.template("report.md.jinja").render(found.context)
        images = found.images.get
        if out.suffix == ".md":
            files = {out.parent / name: image for name, image in found.images.items()}
    if out.suffix == ".md":
        files[out] = markdown.encode()
    else:
        html = pages.page(markdown, images, "Report")
        files[out] = pages.pdf(html) if out.suffix == ".pdf" else html.encode()
    check_targets(files, runs)
    for path, content_of in files.items():
        with written_whole(path) as file:
            file.write(content_of)
    left = markdown.count("**To write.**")
    typer.echo(f"{out}: {left} texts are left to write" if left else f"{out}: written")


def _beside(folder: Path):
    def image(name: str) -> bytes | None:
        path = folder / name
        if "://" in name or not path.is_file():
            return None
        return path.read_bytes()

    return image
