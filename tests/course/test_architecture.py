"""Diagrams of networks: what is found by one forward pass, what is drawn, and how it is shown as SVG."""

import itertools
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest
import torch
import torchvision
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn

from course import display
from course import page as report
from course.figures.diagrams import architecture, draw, title
from course.figures.stages import stages
from labkit import models
from labkit.errors import LabError

LAB = {((512, 4), "256+512"), ((256, 8), "32+256"), ((128, 16), "32+128"), ((64, 32), "32+64")}


def symmetric(*features, widths=(256, 128, 64, 64), side=4):
    """Features from the coarsest skip on: (channels, side) of the source, copied+own channels of the join."""
    return {((c, side * 2 ** (i + 1)), f"{c}+{w}") for i, (c, w) in enumerate(zip(features, widths, strict=False))}


def unet_skips(width, depth, size=128):
    return {((width * 2**i, size >> i), f"{width * 2**i}+{width * 2**i}") for i in range(depth)}


NETWORKS = {
    **{f"unet-{d}": (lambda d=d: models.UNet(width=16, depth=d), unet_skips(16, d)) for d in range(1, 6)},
    "unet-bilinear": (lambda: models.UNet(width=16, up="bilinear"), unet_skips(16, 4)),
    "unet-interpolated": (lambda: models.UNet(width=16, up="interpolated", padding="reflect"), unet_skips(16, 4)),
    "paper": (
        lambda: models.PaperUNet(width=64),
        {((64, 312), "64+64"), ((128, 152), "128+128"), ((256, 72), "256+256"), ((512, 32), "512+512")},
    ),
    "attention": (lambda: models.AttentionUNet(width=16), unet_skips(16, 4)),
    "attention-report": (lambda: models.AttentionUNet(width=16, gate="report"), unet_skips(16, 4)),
    "attention-printed": (lambda: models.AttentionUNet(width=16, gate="report-printed"), unet_skips(16, 4)),
    "lab": (lambda: models.ResNet34UNet(), LAB),
    "symmetric": (lambda: models.ResNet34UNet(decoder="unet"), symmetric(256, 128, 64, 64)),
    "000": (lambda: models.ReportResNet34UNet(report="000"), LAB),
    "000-as-coded": (lambda: models.ReportResNet34UNet(report="000", as_coded=True), LAB),
    "002": (lambda: models.ReportResNet34UNet(report="002"), symmetric(256, 128, 64, 64)),
    "002-as-coded": (
        lambda: models.ReportResNet34UNet(report="002", as_coded=True),
        {((256, 16), "256+256"), ((128, 32), "128+128"), ((64, 64), "64+64")},
    ),
    "003": (
        lambda: models.ReportResNet34UNet(report="003"),
        symmetric(512, 256, 128, 64, widths=(512, 256, 128, 64), side=2),
    ),
    "003-as-coded": (
        lambda: models.ReportResNet34UNet(report="003", as_coded=True),
        symmetric(512, 256, 128, 64, widths=(512, 256, 128, 64), side=2),
    ),
    "resnet18": (lambda: models.EncoderUNet(encoder="resnet18"), symmetric(256, 128, 64, 64)),
    "resnet34": (lambda: models.EncoderUNet(encoder="resnet34"), symmetric(256, 128, 64, 64)),
    "resnet50": (lambda: models.EncoderUNet(encoder="resnet50"), symmetric(1024, 512, 256, 64)),
    "mobilenet": (lambda: models.EncoderUNet(encoder="mobilenet_v3_large"), symmetric(112, 40, 24, 16)),
    "efficientnet": (lambda: models.EncoderUNet(encoder="efficientnet_b0"), symmetric(112, 40, 24, 16)),
    "swin": (lambda: models.EncoderUNet(encoder="swin_t"), symmetric(384, 192, 96)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def drawn(request):
    make, skips = NETWORKS[request.param]
    with torch.device("meta"):
        model = make()
    found = stages(model)
    return found, draw(found, title(model, 128, found.multiply_adds)), skips


def skips_of(found):
    return {
        (
            (found.boxes[s.start].channels, found.boxes[s.start].side),
            "+".join(f"{c}" for c, _ in found.boxes[s.end].parts),
        )
        for s in found.skips
    }


def ends(words):
    """Source, and the channels that meet, whichever comes first in the concatenation."""
    return {(source, tuple(sorted(map(int, parts.split("+"))))) for source, parts in words}


def test_the_skips_are_those_of_the_network(drawn):
    found, _, skips = drawn
    assert ends(skips_of(found)) == ends(skips)
    assert len(found.skips) == len(skips) + (found.boxes[1].side == 64 and found.boxes[2].side == 64)  # 002 as coded
    for skip in found.skips:
        assert [c for c, copied in found.boxes[skip.end].parts if copied] == [found.boxes[skip.start].channels]


def test_no_text_lies_upon_another_or_leaves_the_figure(drawn):
    _, figure, _ = drawn
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert min(text.get_fontsize() for text in texts) * 17 / (8.5 * 2.54) >= 7
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1  # noqa: PT018
    for (a, first), (b, second) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        assert not first.overlaps(second), (a.get_text(), b.get_text())


def shapes_by_hooks(model, size):
    shapes = {}
    for name, module in model.named_modules():
        if name and not isinstance(module, models.ResNet34Encoder | models.LabDecoder):
            module.register_forward_hook(
                lambda _, inputs, y, name=name: shapes.update({name: (y.shape[1], y.shape[2])})
            )
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    return shapes


@pytest.mark.parametrize(("padding", "size"), [("zeros", 64), ("valid", 92)])
def test_boxes_of_a_unet_are_what_its_modules_gave(padding, size):
    found = stages(models.UNet(width=4, depth=3, padding=padding), size)
    shapes = shapes_by_hooks(models.UNet(width=4, depth=3, padding=padding), size)
    drawn = [(box.channels, box.side) for box in found.boxes]
    down, up = [*(f"encoder.{i}" for i in range(3)), "bottleneck"], [f"decoder.{i}" for i in range(3)]
    assert drawn[1:8:2] == [shapes[name] for name in down]
    assert drawn[9:14:2] == [shapes[name] for name in up]
    assert drawn[-1] == shapes["head"]
    own = [(box.parts[1][0], box.side) for box in found.boxes if len(box.parts) == 2]
    assert own == [shapes[f"ups.{i}"] for i in range(3)]


def test_boxes_of_the_resnet_are_what_its_modules_gave():
    found, shapes = stages(models.ResNet34UNet(), 64), shapes_by_hooks(models.ResNet34UNet(), 64)
    drawn = [(box.channels, box.side) for box in found.boxes]
    left = ["encoder.bn1", "encoder.maxpool", *(f"encoder.layer{i}" for i in range(1, 5))]
    assert drawn[1:7] == [shapes[name] for name in left]
    own = [(box.parts[0][0], box.side) for box in found.boxes[7:]]
    assert own == [shapes[n] for n in ("decoder.center", *(f"decoder.stages.{i}" for i in range(5)), "head")]


def test_gates_are_steered_from_below_unless_the_report_forgot_it():
    with torch.device("meta"):
        as_meant, printed = models.AttentionUNet(), models.AttentionUNet(gate="report-printed")
    for skip in stages(as_meant).skips:
        assert skip.gated
        assert skip.signals == (skip.end - 1,)
    assert all(skip.gated and not skip.signals for skip in stages(printed).skips)


def test_multiply_adds_are_those_of_a_convolution():
    assert stages(nn.Conv2d(3, 8, 3, padding=1), 32).multiply_adds == 3 * 8 * 9 * 32 * 32


class _NotOnMeta(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        return self.conv(x) + x.sum().item()  # asks for a number


@pytest.mark.parametrize(
    "model",
    [
        nn.Conv2d(3, 1, 1),
        nn.Sequential(nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.Upsample(scale_factor=2)),
        nn.Sequential(*list(torchvision.models.resnet18().children())[:-2], nn.Conv2d(512, 2, 1)),
        _NotOnMeta(),
    ],
)
def test_a_network_without_a_u_is_a_row_of_boxes(model):
    found = stages(model, 64)
    with torch.no_grad():
        shape = model.eval()(torch.zeros(1, 3, 64, 64)).shape
    assert (found.boxes[0].channels, found.boxes[0].side) == (3, 64)
    assert (found.boxes[-1].channels, found.boxes[-1].side) == (shape[1], shape[2])
    assert found.skips == []
    architecture(model, 64).savefig(display.io.BytesIO(), format="png")


@pytest.mark.parametrize(
    ("model", "message"),
    [(nn.Sequential(nn.Flatten()), "square map"), (nn.Conv2d(1, 1, 1), "another size or in_channels")],
)
def test_what_is_no_map_or_no_fit_is_an_error(model, message):
    with pytest.raises(LabError, match=message):
        architecture(model, 16)


def test_the_model_is_left_as_it_was():
    model = models.UNet(width=4, depth=2)
    model.encoder[0].eval()  # a part that was frozen
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    identities = [id(parameter) for parameter in model.parameters()]
    architecture(model, 32)
    assert [module.training for module in model.modules()] == modes
    assert [id(parameter) for parameter in model.parameters()] == identities
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


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


def test_the_report_shows_the_svg_with_its_alt_text():
    data = {"image/svg+xml": "<svg/>", "image/png": "AAAA"}
    output = nbformat.v4.new_output("display_data", data, metadata={"image/svg+xml": {"alt": 'a "U"'}})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    page = report.prepared(notebook).cells[0].outputs[0].data["text/html"]
    assert 'alt="a &quot;U&quot;"' in page
    assert "data:image/svg+xml;base64," in page
