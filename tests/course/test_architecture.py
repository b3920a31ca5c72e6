"""Diagrams of networks: what is drawn, that it can be read, and how it is shown as SVG."""

import itertools
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from course import display
from course.figures import architecture
from labkit import models
from labkit.errors import LabError

LAB = {"256+512", "32+256", "32+128", "32+64"}
RESNET = {"256+256", "128+128", "64+64"}  # twice
JOINED = {
    "unet": (models.UNet, {}, 4, {"512+512", "256+256", "128+128", "64+64"}),
    "one pooling": (models.UNet, {"width": 16, "depth": 1}, 1, {"16+16"}),
    "five poolings": (models.UNet, {"width": 16, "depth": 5}, 5, {"256+256", "16+16"}),
    "unpadded": (models.PaperUNet, {}, 4, {"512+512", "256+256", "128+128", "64+64"}),
    "gated": (models.AttentionUNet, {"width": 16}, 4, {"128+128", "64+64", "32+32", "16+16"}),
    "lab": (models.ResNet34UNet, {}, 4, LAB),
    "symmetric": (models.ResNet34UNet, {"decoder": "unet"}, 4, RESNET),
    "000": (models.ReportResNet34UNet, {"report": "000"}, 4, LAB),
    "001": (models.ReportResNet34UNet, {"report": "001"}, 3, RESNET),
    "002": (models.ReportResNet34UNet, {"report": "002"}, 4, RESNET),
    "002 as coded": (models.ReportResNet34UNet, {"report": "002", "as_coded": True}, 4, RESNET),
    "003": (models.ReportResNet34UNet, {"report": "003"}, 4, RESNET | {"512+512"}),
    "efficientnet": (models.EncoderUNet, {"encoder": "efficientnet_b0"}, 4, {"112+256", "40+128", "24+64", "16+64"}),
    "swin": (models.EncoderUNet, {"encoder": "swin_t"}, 3, {"384+256", "192+128", "96+64"}),
}


def drawn(kind, arguments, size=128):
    with torch.device("meta"):
        return architecture(kind(**arguments), size)


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("name", JOINED)
def test_every_skip_is_drawn_and_no_text_lies_upon_another(name):
    kind, arguments, skips, joined = JOINED[name]
    figure = drawn(kind, arguments)
    assert sum(line.get_linestyle() == "--" for line in figure.axes[0].lines) == skips
    assert {text for text in words(figure) if "+" in text} >= joined
    figure.draw_without_rendering()
    texts = [*figure.axes[0].texts, *figure.legends[0].get_texts()]
    boxes = [text.get_window_extent() for text in texts]
    assert min(text.get_fontsize() for text in texts) * 17 / (8.5 * 2.54) >= 7  # points, printed 17 cm wide
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1  # noqa: PT018
    for (a, first), (b, second) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        assert not first.overlaps(second), (a.get_text(), b.get_text())


def test_sizes_are_those_of_the_papers_figure():
    figure = drawn(models.UNet, {"padding": "valid", "norm": "none"}, 572)
    sides = (572, 568, 284, 280, 140, 136, 68, 64, 32, 28, 56, 52, 104, 100, 200, 196, 392, 388)
    assert {text for text in words(figure) if text[0].isdigit() and "×" in text} == {f"{s}×{s}" for s in sides}
    assert "skip: cropped copy" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_gates_are_steered_from_below_unless_the_report_forgot_it():
    legends = {}
    for gate in ("additive", "report-printed"):
        figure = drawn(models.AttentionUNet, {"width": 4, "gate": gate})
        legends[gate] = {text.get_text() for text in figure.legends[0].get_texts()}
        assert sum(line.get_marker() == "x" for line in figure.axes[0].lines) == 4
    assert legends["additive"] - legends["report-printed"] == {"gating signal"}


def test_the_title_counts():
    model = models.UNet(width=16)
    (title,) = [text for text in words(architecture(model)) if text.startswith("UNet")]
    assert title == f"UNet: {models.count_parameters(model):,} parameters, 0.758 G multiply-adds at 128×128"


def test_a_network_that_says_nothing_of_itself_is_an_error():
    with pytest.raises(LabError, match="Conv2d: its stages are not registered"):
        architecture(torch.nn.Conv2d(3, 1, 1))


def test_svg_is_small_repeatable_xml_with_its_text_as_text():
    model = models.UNet(width=16)
    first, second = (display.svg(architecture(model), "A U") for _ in range(2))
    assert first == second
    assert len(first) < 150_000
    root = ElementTree.fromstring(first)
    texts = [element.text for element in root.iter(f"{{{display.SVG}}}text")]
    for channels in ("16", "32", "64", "128", "256", "128+128"):
        assert channels in texts
    assert root.get("aria-label") == "A U"
    assert "style=" not in first
