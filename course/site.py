"""The executed notebooks as a web site that opens from a folder: Sphinx, nothing executed, nothing fetched."""

import datetime
import hashlib
import io
import json
import os
import re
import shutil
from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from docutils import nodes
from latex2mathml.converter import convert
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from course.handout import BEGIN, END
from labkit.errors import LabError
from labkit.files import building

MARK = ".labkit-site"
"""A folder with this file was written here and may be replaced."""
WIDGET = "application/vnd.jupyter.widget-view+json"
MEASURES = {
    "dice_per_image": "Dice, per image",
    "dice_pooled": "Dice, pooled",
    "iou_per_image": "IoU, per image",
    "iou_pooled": "IoU, pooled",
    "dice_soft_batch": "Dice, soft, per batch",
    "loss": "loss",
}
CONFIGURATION = {
    "project": "Image segmentation lab",
    "html_title": "Image segmentation lab",
    "copyright": "",
    "extensions": ["myst_nb", "course.site"],
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {
        "use_download_button": False,
        "navbar_persistent": [],
        "show_toc_level": 2,
        "home_page_in_toc": True,
        "pygments_light_style": "a11y-high-contrast-light",
        "pygments_dark_style": "a11y-high-contrast-dark",
    },
    "html_context": {"default_mode": "auto"},
    "html_show_sphinx": False,
    "html_show_copyright": False,
    "html_copy_source": False,
    "html_static_path": ["_static"],
    "html_css_files": ["site.css"],
    "html_math_renderer": "mathml",
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},
    "nb_render_markdown_format": "myst",
    "nb_code_prompt_show": "Show the solution",
    "nb_code_prompt_hide": "Hide the solution",
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_dmath_double_inline": True,
    "myst_heading_anchors": 4,
    "suppress_warnings": ["myst.xref_missing", "mystnb.unknown_mime_type", "toc.not_included"],
}
STYLE = """
div.cell div.cell_input pre, div.cell div.cell_output pre { white-space: pre-wrap; overflow-wrap: anywhere; }
div.cell_output { overflow-x: auto; }
div.cell_output img { height: auto; max-width: 100%; }
html[data-theme="dark"] div.cell_output img { background: #fff; }
html[data-theme="dark"] .text_html:has(.labkit-browser) { background: none !important; color: inherit !important; }
.formula { overflow-x: auto; margin: 1em 0; }
.bd-main .bd-content .bd-article-container { max-width: 60em; }
"""


def write_site(target: Path, notebooks: Iterable[Path], first: str, pages: Iterable[Path] = ()) -> Path:
    """Build a site of executed notebooks and Markdown pages.

    Args:
        target: its folder; one that was built before is replaced.
        first: the first page's Markdown, without the list of chapters.

    Returns:
        The first page, `<target>/index.html`.

    Raises:
        LabError: a folder that is no site lies at `target`, or Sphinx cannot build the pages.
    """
    refuse_foreign_site(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with building(target) as folder:
        source, built = folder / "source", folder / "built"
        (source / "_static").mkdir(parents=True)
        (source / "_static" / "site.css").write_text(STYLE)
        read = {path.stem: nbformat.read(path, as_version=4) for path in notebooks}
        alts = {key: alt for notebook in read.values() for key, alt in image_texts(notebook)}
        for name, notebook in read.items():
            nbformat.write(prepared(notebook), source / f"{name}.ipynb")
        pages = [path for path in pages if path.is_file()]
        for path in pages:
            shutil.copy(path, source)
        chapters = pd.DataFrame([_chapter(name, notebook) for name, notebook in read.items()]).dropna(axis=1, how="all")
        trees = {"Chapters": list(read), "More": [path.stem for path in pages]}
        listed = [chapters.fillna("").to_markdown(index=False, tablefmt="pipe")] if len(chapters) else []
        contents = "\n\n".join([first, "## Chapters", *listed, *(_tree(*tree) for tree in trees.items() if tree[1])])
        (source / "index.md").write_text(contents, encoding="utf-8")
        warnings = io.StringIO()
        with docutils_namespace():
            settings = CONFIGURATION | {"labkit_alts": alts}
            app = Sphinx(source, None, built, folder / "trees", "html", settings, status=None, warning=warnings)
            app.build(force_all=True)
        if app.statuscode:
            raise LabError(f"the site cannot be built: {warnings.getvalue().strip()[:2000]}")
        (built / MARK).touch()
        if target.exists():
            shutil.rmtree(target)
        os.replace(built, target)
    return target / "index.html"


def refuse_foreign_site(target: Path) -> None:
    """Refuse (LabError) to replace a folder or file that is no site of labkit's."""
    if os.path.lexists(target) and not (target / MARK).is_file():
        raise LabError(f"{target}: is there already, and no site of labkit's; move it away or choose another --out")


def setup(app: Sphinx) -> dict[str, Any]:
    """Make this module a Sphinx extension: formulas as MathML, and the alt texts that notebooks keep beside images."""
    app.add_config_value("labkit_alts", {}, "env")
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("doctree-read", _add_alts)
    return {"parallel_read_safe": True}


def _formula(translator: Any, node: nodes.Element) -> None:
    if isinstance(node, nodes.math_block):  # a wide one is scrolled, also with the keyboard
        drawn = f'<div class="formula" tabindex="0">{convert(node.astext(), display="block")}</div>'
    else:
        drawn = convert(node.astext())
    translator.body.append(drawn)
    raise nodes.SkipNode


def _add_alts(app: Sphinx, doctree: nodes.document) -> None:
    for image in doctree.findall(nodes.image):
        if alt := app.config.labkit_alts.get(Path(image["uri"]).stem):
            image["alt"] = alt


def image_texts(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Digest of each image in the outputs, by which myst-nb names its file, and the alt text beside it."""
    found = []
    for output in data_outputs(notebook):
        for kind, about in output.get("metadata", {}).items():
            if kind in output.data and isinstance(about, Mapping) and "alt" in about:
                content = output.data[kind]
                raw = os.linesep.join(content.splitlines()).encode() if "svg" in kind else b64decode(content)
                found.append((hashlib.sha256(raw).hexdigest(), about["alt"]))
    return found


def prepared(notebook: NotebookNode) -> NotebookNode:
    """A copy of the notebook with folded solutions, and without widgets, which have no kernel to talk to."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if cell.cell_type == "code" and BEGIN in cell.source:
            tags.append("hide-input")
            marks = (BEGIN, END)
            cell.source = "\n".join(line for line in cell.source.splitlines() if line.strip() not in marks)
        if "injected-parameters" in tags:
            tags.append("remove-output")
    for output in data_outputs(notebook):
        if output.data.pop(WIDGET, None) and "text/html" not in output.data:
            output.data = NotebookNode({"text/markdown": "*An interactive part: open the notebook in JupyterLab.*"})
    return notebook


def data_outputs(notebook: NotebookNode) -> list[NotebookNode]:
    """The outputs of a notebook that hold data by MIME type."""
    return [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]


def _chapter(name: str, notebook: NotebookNode) -> dict[str, Any]:
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    title, asked = (
        re.search(r"^# (.+)$", text, re.M),
        re.search(r"\*\*(?:The q|Q)uestion\.\*\*\s+(.+?)(?:\n\n|$)", text, re.S),
    )
    seconds = notebook.metadata.get("papermill", {}).get("duration")
    return {
        "chapter": f"[{title[1] if title else name}]({name}.ipynb)",
        "question": " ".join(asked[1].split()) if asked else None,
        "ran for": None if seconds is None else f"{seconds:.0f} s",
    }


def _tree(caption: str, names: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```"])


def lab_page(run: Path, settings: Mapping[str, Any], seconds: float) -> str:
    """The first page of a lab that was just executed, in Markdown: scores of its run, settings, time, machine."""
    about = run / "environment.json"
    machine = json.loads(about.read_text()) if about.is_file() else {}
    when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    rows = settings | {"executed": f"{when}, in {seconds:.0f} seconds"} | machine
    table = pd.DataFrame({"setting": list(rows), "value": [str(value) for value in rows.values()]})
    written = table.to_markdown(index=False, disable_numparse=True)
    return f"# Image segmentation lab\n\n## Test result\n\n{evaluation_table(run)}\n\n## Settings\n\n{written}"


def evaluation_table(run: Path) -> str:
    """The summaries of a run's evaluations as a Markdown table; a sentence when there are none."""
    summaries = [json.loads(path.read_text()) for path in sorted(run.glob("evaluations/*/summary.json"))]
    if not summaries:
        return "No evaluation: notebooks 04 and 05 were not both executed."
    rows = []
    for found in summaries:
        size = "their own size" if found["scored_at"] == "original" else "{0} x {0} pixels".format(found["input_size"])
        what = f"{found['data']}, {found['split']}: {found['images']} images, scored at {size}"
        rows.append({"images": what} | {label: found.get(key) for key, label in MEASURES.items()})
    table = pd.DataFrame(rows).astype(object)
    return table.where(table.notna(), None).to_markdown(index=False, floatfmt=".4f", missingval="-")
