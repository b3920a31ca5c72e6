"""One self-contained page of the executed notebooks: figures embedded, formulas as MathML, nothing fetched."""

import base64
import datetime
import html
import json
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pandas as pd
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from labkit.files import write_text

INTERACTIVE = "An interactive part: open the notebook in JupyterLab to use it."
WIDGET = "application/vnd.jupyter.widget-view+json"
VECTOR = "image/svg+xml"
MEASURES = {
    "dice_per_image": "Dice, per image",
    "dice_pooled": "Dice, pooled",
    "iou_per_image": "IoU, per image",
    "iou_pooled": "IoU, pooled",
    "dice_soft_batch": "Dice, soft, per batch",
    "loss": "loss",
}
STYLE = """
:root { color-scheme: light; --ink: #1f2328; --quiet: #59636e; --line: #d8dee4; --paper: #fff; --code: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.6 system-ui, sans-serif; }
nav { position: sticky; top: 0; background: var(--paper); border-bottom: 1px solid var(--line); padding: .6rem 1rem;
      display: flex; gap: 1.2rem; flex-wrap: wrap; z-index: 1; }
nav a, a { color: #0757ba; text-decoration: none; } nav a:hover { text-decoration: underline; }
main { max-width: 56rem; margin: 0 auto; padding: 1rem; }
article { border-top: 3px solid var(--line); margin-top: 3rem; padding-top: 1rem; }
h1 { font-size: 1.9rem; line-height: 1.25; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .92rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
pre { background: var(--code); padding: .8rem; overflow-x: auto; border-radius: 6px;
      font: 13px/1.45 ui-monospace, monospace; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
.output pre { background: none; border-left: 3px solid var(--line); border-radius: 0; }
img { max-width: 100%; height: auto; } .quiet { color: var(--quiet); } .input_area { margin: .8rem 0; }
.output { overflow-x: auto; } .anchor-link { display: none; } math[display=block] { margin: 1rem 0; }
"""


def write_report(out: Path, notebooks: list[Path], data: str, recipe: str, seconds: float) -> Path:
    """Write `<out>/index.html` from executed notebooks and the evaluations of `<out>/run`."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_filter("markdown2html", MarkdownWithMath(renderer=MathmlRenderer(escape=False)).render)
    links, articles = [], []
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        body, _ = exporter.from_notebook_node(prepared(notebook))
        links.append(f'<a href="#{path.stem}">{html.escape(path.stem.replace("_", " "))}</a>')
        articles.append(f'<article id="{path.stem}">{body}</article>')
    when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Image segmentation lab: {html.escape(data)}</title>
<style>{STYLE}{HtmlFormatter(style="default").get_style_defs(".highlight")}</style></head>
<body><nav><a href="#top"><strong>Lab report</strong></a>{"".join(links)}</nav><main id="top">
<h1>Image segmentation lab</h1>
<p class="quiet">Data: {html.escape(data)}. Recipe: {html.escape(recipe)}. Executed {when} in {seconds:.0f} seconds.</p>
{evaluation_table(out / "run")}
{"".join(articles)}
</main></body></html>
"""
    write_text(out / "index.html", page)
    return out / "index.html"


class MathmlRenderer(IPythonRenderer):
    """Formulas become MathML, which browsers draw by themselves."""

    def block_math(self, body: str) -> str:
        return convert(body.strip(), display="block")

    def inline_math(self, body: str) -> str:
        return convert(body.strip())


def prepared(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without widgets, which need a running kernel."""
    for output in [output for cell in notebook.cells for output in cell.get("outputs", [])]:
        content = output.get("data", {})
        if WIDGET in content:
            output["data"] = nbformat.from_dict({"text/html": f'<p class="quiet">{INTERACTIVE}</p>'})
        elif VECTOR in content:  # nbconvert would leave its alt text out
            output["data"] = nbformat.from_dict({"text/html": _vector(content[VECTOR], output.metadata)})
    return notebook


def _vector(drawing: str, metadata: Mapping[str, Mapping[str, str]]) -> str:
    source = base64.b64encode(drawing.encode()).decode()
    alt = html.escape(metadata.get(VECTOR, {}).get("alt", ""))
    return f'<img alt="{alt}" src="data:{VECTOR};base64,{source}">'


def evaluation_table(run: Path) -> str:
    """The summaries of a run's evaluations as an HTML table; a sentence when there are none."""
    summaries = [json.loads(path.read_text()) for path in sorted(run.glob("evaluations/*/summary.json"))]
    if not summaries:
        return '<p class="quiet">No evaluation: notebooks 04 and 05 were not both executed.</p>'
    rows = []
    for found in summaries:
        size = "their own size" if found["scored_at"] == "original" else "{0} x {0} pixels".format(found["input_size"])
        what = f"{found['data']}, {found['split']}: {found['images']} images, scored at {size}"
        rows.append({"images": what} | {label: found.get(key) for key, label in MEASURES.items()})
    return f"<h2>Test result</h2>{pd.DataFrame(rows).to_html(index=False, border=0, float_format='%.4f', na_rep='-')}"
