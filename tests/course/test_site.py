"""The site: figures with their alt texts, folded solutions, formulas, scores; nothing is fetched from a host."""

import base64
import io
import json
import re
from collections.abc import Collection, Iterable

import nbformat
import numpy as np
import pytest
from PIL import Image

from course.lab import committed_site, notebook_files
from course.site import MARK, MEASURES, lab_page, write_site
from labkit import analysis, data
from labkit.browser import Browser
from labkit.errors import LabError
from tests.conftest import CHROMIUM

INTRODUCTION = """# 01 · A chapter

**The question.** What is
shown?

$$\\frac{a}{b}$$ and $x^2$, but `$HOME$` is code. It goes on in [the next](02_next.ipynb)."""
SOLUTION = "### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION"
LONG = f"words = '{'long ' * 60}'"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


def output(data: dict, metadata: dict | None = None) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata or {})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of two chapters, the second with a live browser, and a page; its first page is a lab's."""
    folder = tmp_path_factory.mktemp("site")
    file = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(file, "PNG")
    about = {"image/png": {"alt": "a gray field", "width": 30}}
    figure = output({"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "a figure"}, about)
    vector = output({"image/svg+xml": SVG, "text/plain": "a drawing"}, {"image/svg+xml": {"alt": "a black square"}})
    widget = output({"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Sliders()"})
    pets = data.open_pets("sample")
    predictor = analysis.load_predictor(analysis.open_run(analysis.committed_weights("sample")), "cpu", "float32")
    browser = Browser(predictor, pets, pets.split("test")[:3])
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    first = [text(INTRODUCTION), code(SOLUTION), code(LONG), code("show()", outputs=[figure, vector, widget])]
    second = [text("# 02 · Next"), code("browser", outputs=[output(browser._repr_mimebundle_())])]
    paths = []
    for name, cells in (("01_first", first), ("02_next", second)):
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"papermill": {"duration": 12.4}})
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        paths.append(folder / f"{name}.ipynb")
        nbformat.write(notebook, paths[-1])
    kept = folder / "run" / "evaluations" / "sample-test-64"
    kept.mkdir(parents=True)
    summary = {"data": "sample", "split": "test", "images": 200, "input_size": 64, "scored_at": "input"}
    (kept / "summary.json").write_text(json.dumps(summary | dict.fromkeys(MEASURES, 0.9123)))
    own_size = kept.with_name("sample-test-original")  # has fewer measures
    own_size.mkdir()
    (own_size / "summary.json").write_text(json.dumps(summary | {"scored_at": "original", "dice_per_image": 0.8}))
    (folder / "reports.md").write_text("# A page\n\nWords.\n")
    opening = lab_page(folder / "run", {"data": "sample", "recipe": "quick"}, 61.0)
    return write_site(folder / "out" / "site", paths, opening, [folder / "reports.md"]).parent


def test_the_first_page_has_scores_settings_times_and_the_chapters(site):
    page = (site / "index.html").read_text()
    for words in ("0.9123", "Dice, per image", "quick", "in 61 seconds", "01 · A chapter", "What is shown?", "12 s"):
        assert words in page
    assert "nan" not in page
    assert 'href="02_next.html"' in page
    assert 'href="reports.html"' in page


def test_a_chapter_has_alt_texts_formulas_and_folded_solutions(site):
    page = (site / "01_first.html").read_text()
    assert 'alt="a gray field"' in page
    assert 'alt="a black square"' in page
    assert page.count("<math") == 2
    assert "<mfrac>" in page
    assert "$HOME$" in page
    folded = page[page.index("<details") : page.index("</details>")]
    assert "Show the solution" in folded
    assert "42" in folded
    assert "SOLUTION" not in page
    assert "open the notebook in JupyterLab" in page
    assert 'href="02_next.html"' in page


def test_a_site_is_replaced_and_a_users_folder_is_not(site, tmp_path):
    assert (site / MARK).is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(LabError, match="no site of labkit's"):
        write_site(tmp_path / "mine", [], "# Mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["index.html"]
    before = write_site(tmp_path / "again", [], "# First")
    assert "Second" in write_site(tmp_path / "again", [], "# Second").read_text()
    assert before.is_file()


def browse(chromium, site, names: Iterable[str], width: int, scheme: str, live: Collection[str]) -> list[str]:
    """What is wrong with pages: serious findings of axe, pages wider than the screen, requests to hosts, messages."""
    from axe_playwright_python.sync_playwright import Axe

    wrong = []

    def requested(request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(f"asked {request.url}")

    context = chromium.new_context(offline=True, viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(300_000)  # a large page on a busy machine
    page = context.new_page()
    page.on("request", requested)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    for name in names:
        page.goto((site / f"{name}.html").as_uri())
        if name in live:
            page.wait_for_selector(".labkit-browser[data-painted]")
        options = {"preload": False, "resultTypes": ["violations"]}
        for found in Axe().run(page, options=options).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                wrong += [f"{name}: {found['id']}: {node['html'][:300]}" for node in found["nodes"]]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wrong.append(f"{name}: wider than the screen")
    context.close()
    return wrong


SCREENS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("width", "scheme"), [SCREENS[0], SCREENS[-1]])
def test_every_page_is_accessible_fits_the_screen_and_asks_no_host(chromium, site, width, scheme):
    assert browse(chromium, site, ("index", "01_first", "02_next", "reports"), width, scheme, live=["02_next"]) == []


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory):
    """The site of the committed notebooks."""
    return committed_site(tmp_path_factory.mktemp("whole") / "site").parent


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_every_chapter_is_accessible_fits_the_screen_and_asks_no_host(chromium, whole_site, width, scheme):
    names = sorted(path.stem for path in whole_site.glob("*.html") if path.stem not in ("genindex", "search"))
    assert len([name for name in names if name[:2].isdigit()]) == 10
    live = [name for name in names if name[:2] in ("02", "03", "05", "06")]
    assert browse(chromium, whole_site, names, width, scheme, live) == []


@pytest.mark.slow
def test_every_image_of_the_chapters_is_described(whole_site):
    for notebook in notebook_files():
        page = (whole_site / f"{notebook.stem}.html").read_text()
        images = re.findall(r"<img [^>]*>", page)
        bare = [image[:200] for image in images if not re.search(r'alt="[^"]{15,}"', image)]
        assert bare == [], notebook.stem
