"""From key to painted frame in the browser: `python -m benchmarks.browser`, rows into records/browser.csv.

A page without a kernel is opened in Chromium, and real keys are pressed. A time runs from the key event's own time
stamp to the first task after the frame in which the canvas was painted; it holds the wait for the next frame, up to
17 ms at 60 frames a second. The photo's rows are the kernel's work for an image of 4000x3000 pixels.
"""

import argparse
import io
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.timing import machine, spread
from labkit import analysis
from labkit.browser import Browser
from labkit.data import open_pets
from labkit.errors import LabError
from labkit.files import home, write_text

KEYS = {  # what is measured: the part of the page that has the focus, keys in turns, what the key does
    "threshold": (".panels", ("ArrowUp", "ArrowDown")),
    "opacity": ("label:has-text('opacity') input", ("ArrowRight", "ArrowLeft")),
    "next image": (".panels", ("ArrowRight",) * 9 + ("ArrowLeft",) * 9),
}
WATCH = """() => {
    const root = document.querySelector('.labkit-browser');
    let pressed = null;
    addEventListener('keydown', event => { pressed = event.timeStamp; }, true);
    new MutationObserver(() => {
        const began = pressed, channel = new MessageChannel();
        channel.port1.onmessage = () => { window.took = performance.now() - began; };
        channel.port2.postMessage(0);
    }).observe(root, { attributes: true, attributeFilter: ['data-painted'] });
}"""


def key_times(page: Page, name: str, presses: int) -> list[float]:
    """Milliseconds from each of so many key presses to the painted frame."""
    focus, keys = KEYS[name]
    page.locator(f".labkit-browser {focus}").focus()
    times = []
    for number in range(presses):
        page.evaluate("() => { window.took = null; }")
        page.keyboard.press(keys[number % len(keys)])
        times.append(page.wait_for_function("() => window.took").json_value())
        page.wait_for_timeout(30 + number % 17)  # keys come at any time of a frame
    return times


def page_rows(browser: Browser, presses: int) -> list[dict]:
    """Rows for every key and view, on a page of `browser`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise LabError("no Chromium is installed; install the package chromium")
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "browser.html"
        path.write_text(f'<!doctype html><meta charset="utf-8"><body>{browser.to_html()}', encoding="utf-8")
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(path.as_uri())
        page.wait_for_selector("[data-painted]")
        page.evaluate(WATCH)
        for view in ("overlay", "errors", "all"):
            page.get_by_label("view").select_option(view)
            page.wait_for_timeout(500)
            for name in KEYS:
                turns = len(KEYS[name][1])
                key_times(page, name, turns)  # warm, and back where it began
                found = spread(key_times(page, name, turns * max(1, presses // turns)))
                size = page.evaluate(
                    "() => { const c = document.querySelector('canvas'); return `${c.width}x${c.height}`; }"
                )
                rows.append({"what": name, "view": view, "pixels": size, "presses": presses} | vars(found))
        rows[-1]["page_bytes"] = path.stat().st_size
        chromium.close()
    return rows


def photo_rows(browser: Browser, rounds: int) -> list[dict]:
    """Rows for predicting and cutting out a photo of 12 megapixels, in milliseconds."""
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((4000, 3000), Image.BICUBIC).save(file, "JPEG", quality=92)
    times: dict[str, list[float]] = {"photo predicted": [], "photo cut out": []}
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(file.getvalue())
        os.chdir(folder)
        try:
            for _ in range(rounds):
                began = time.perf_counter()
                browser.add_photo(path)
                shown = time.perf_counter()
                browser.save_cutout(len(browser.canvas.items) - 1)
                times["photo predicted"].append(1000 * (shown - began))
                times["photo cut out"].append(1000 * (time.perf_counter() - shown))
        finally:
            os.chdir(here)
    return [
        {"what": name, "view": "", "pixels": "4000x3000", "presses": rounds} | vars(spread(found))
        for name, found in times.items()
    ]


def main() -> None:
    """Measure, print, and write records/browser.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presses", type=int, default=60, help="key presses of each kind")
    parser.add_argument("--rounds", type=int, default=3, help="photos")
    parser.add_argument("--out", type=Path, default=home() / "records" / "browser.csv")
    options = parser.parse_args()
    pets = open_pets("sample")
    predictor = analysis.load_predictor(analysis.open_run(analysis.committed_weights("sample")), "cpu", "float32")
    largest = sorted(pets.split("test").tolist(), key=lambda index: -pets.image(index).size)
    browser = Browser(predictor, pets, largest[:24])
    rows = page_rows(browser, options.presses) + photo_rows(browser, options.rounds)
    table = pd.DataFrame(rows).rename(columns={"low": "ms_low", "median": "ms_median", "high": "ms_high"}).round(1)
    print(table.to_string(index=False))
    for name, value in machine(predictor.device).items():
        table[name] = value
    write_text(options.out, table.to_csv(index=False, lineterminator="\n"), replace=True)


if __name__ == "__main__":
    main()
