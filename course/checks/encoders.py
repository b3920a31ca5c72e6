"""Checks of notebook 10 on encoders: odd sides, taps of one's own choice, and the UNet on them."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course.checks.builds import build_check, together
from course.checks.verdict import Check, Collected, expect, number_check
from labkit import models

WIRED = frozenset(models.ENCODERS)
"""The lab's own, however many a notebook adds later."""

# --- predictions

inception_side = number_check(
    "inception_side",
    "not half of 299",
    147,
    {
        "that is after the first convolution; the second has no padding either and loses 2": 149,
        "without padding the first convolution does not halve: its last window must fit": 150,
        "the third convolution has padding 1 and keeps the size": 145,
        "the second convolution has no stride; only the first halves": 73,
        "the first convolution has stride 2": 295,
        "a side is a whole number: the window that does not fit is left out": 149.5,
    },
    "(side - kernel + 2 padding) // stride + 1 for each of the three",
    0.01,
)

separable_weights = number_check(
    "separable_weights",
    "nearly nine times fewer",
    (9 * 128 * 128, 9 * 128 + 128 * 128),
    {
        "the 1 x 1 convolution that mixes the channels is missing": (9 * 128 * 128, 9 * 128),
        "the depthwise convolution is missing: 9 weights a channel": (9 * 128 * 128, 128 * 128),
        "the other order is asked for: first the ordinary convolution": (9 * 128 + 128 * 128, 9 * 128 * 128),
        "a 3 x 3 kernel has 9 weights, not 3": (3 * 128 * 128, 3 * 128 + 128 * 128),
        "the depthwise convolution has one kernel a channel, not one for each pair": (
            9 * 128 * 128,
            9 * 128 * 128 + 128 * 128,
        ),
        "biases are not counted": (9 * 128 * 128 + 128, 9 * 128 + 128 * 128 + 256),
        "the ordinary convolution has a kernel for each pair of channels": (9 * 128, 9 * 128 + 128 * 128),
    },
    "count 9 weights for each kernel of 3 x 3, and one for each pair of channels in a 1 x 1 convolution",
    0.01,
)

# --- taps of one's own choice

SIDE = 128


def _collect_choice(student: tuple[str, dict[str, int]], seed: int) -> Collected:
    import torchvision
    from torchvision.models import feature_extraction, get_model, list_models  # takes seconds to import

    what = "encoder_choice"
    expect(student is not ..., f"{what}: replace the `...` by your answer")
    pair = isinstance(student, tuple | list) and len(student) == 2
    expect(pair, f"{what}: two things are expected, the classifier's name and a dictionary of taps")
    name, taps = student
    is_table = isinstance(taps, dict) and all(isinstance(number, int) for number in taps.values()) and len(taps) > 0
    expect(isinstance(name, str) and is_table, f"{what}: write such as ('name', {{'a.layer': 24, 'another': 48}})")
    known = name in list_models(module=torchvision.models)
    expect(known, f"{what}: torchvision has no classifier {name!r}; torchvision.models.list_models() names them")
    expect(name not in WIRED, f"{what}: {name} is wired already; choose another classifier")
    try:
        with torch.no_grad():
            extractor = feature_extraction.create_feature_extractor(get_model(name, weights=None).eval(), list(taps))
            found = extractor(torch.zeros(1, 3, SIDE, SIDE))
    except ValueError as error:
        missing = [tap for tap in taps if f"'{tap}'" in str(error)] or ["one of the taps"]
        expect(False, f"{what}: {name} has no layer {missing[0]}; its named_modules() tell the names")
    except Exception as error:  # not every classifier can be traced
        expect(False, f"{what}: torchvision cannot tap {name} ({type(error).__name__}); choose another classifier")
    features = list(found.values())
    maps = all(feature.ndim == 4 for feature in features)
    expect(maps, f"{what}: a tap gives no map [B, C, H, W]; take layers before the pooling and the classifier")
    return {
        "in order": np.array(list(found) == list(taps)),  # found: as they are computed
        "claimed": np.array(list(taps.values())),
        "channels": np.array([feature.shape[1] for feature in features]),
        "sides": np.array([feature.shape[2:] for feature in features]),
    }


def _judge_choice(arrays: Collected, seed: int) -> None:
    what, (heights, widths) = "encoder_choice", arrays["sides"].T
    last = "the encoder gives [B, H, W, C], as transformers do; choose one that gives [B, C, H, W]"
    expect((heights == widths).all(), f"{what}: {last}")
    shrinks = np.diff(heights)
    expect(arrays["in order"] and (shrinks <= 0).all(), f"{what}: the finest tap comes first, then the coarser ones")
    expect((shrinks < 0).all(), f"{what}: two taps have the same size; one for each scale, best the last layer of it")
    halves = heights[:-1] == 2 * heights[1:]
    first = f"tap {int(np.argmin(halves)) + 2} has {heights[1:][np.argmin(halves)] if len(halves) else 0} pixels a side"
    expect(halves.all(), f"{what}: for {SIDE} x {SIDE} {first}, not half of the one before; a scale is left out")
    expect(heights[-1] == SIDE // 32, f"{what}: the last tap is at 1/{SIDE // heights[-1]}; go down to 1/32")
    expect(heights[0] >= SIDE // 4, f"{what}: the first tap is at 1/{SIDE // heights[0]}; begin at 1/2 or at 1/4")
    expect(heights[0] < SIDE, f"{what}: the first tap has the image's own size; begin at 1/2")
    wrong = arrays["claimed"] != arrays["channels"]
    expect(not wrong.any(), f"{what}: tap {int(np.argmax(wrong)) + 1} has another number of channels than you wrote")


encoder_choice = Check("encoder_choice", "stage 1: one tap a scale, down to 1/32", _collect_choice, _judge_choice)

# --- the UNet on an encoder


def _changed(
    margin: Callable[[Tensor, int, int], Tensor] = lambda x, right, lower: F.pad(
        x, (0, right, 0, lower), mode="replicate"
    ),
    end: Callable[[Tensor], Tensor] = lambda y: y,
    crop: Callable[[Tensor, int, int], Tensor] = lambda y, height, width: y[..., :height, :width],
) -> Callable[[models.EncoderUNet], Callable]:
    def mistake(net: models.EncoderUNet) -> Callable:
        def forward(x: Tensor) -> Tensor:
            height, width = x.shape[-2:]
            x = margin(x, -width % 32, -height % 32)
            return crop(end(net.head(net.decoder(list(net.encoder(x).values()), x.shape[-2:]))), height, width)

        return forward

    return mistake


TAP_MISTAKES = {
    "the margin is filled with zeros; repeat the last row and column (mode='replicate')": _changed(
        margin=lambda x, right, lower: F.pad(x, (0, right, 0, lower))
    ),
    "the margin lies left and above; put it right and below": _changed(
        margin=lambda x, right, lower: F.pad(x, (right, 0, lower, 0), mode="replicate"),
    ),
    "the margin lies left and above; put it right and below, and cut it off there": _changed(
        margin=lambda x, right, lower: F.pad(x, (right, 0, lower, 0), mode="replicate"),
        crop=lambda y, height, width: y[..., y.shape[-2] - height :, y.shape[-1] - width :],
    ),
    "the image is stretched to a multiple of 32; give it a margin instead": _changed(
        margin=lambda x, right, lower: F.interpolate(x, (x.shape[-2] + lower, x.shape[-1] + right), mode="bilinear"),
        crop=lambda y, height, width: F.interpolate(y, (height, width), mode="bilinear"),
    ),
    "the margin is never cut off: the logits are larger than the image": _changed(crop=lambda y, h, w: y),
    "the network ends with logits; the sigmoid is part of the loss": _changed(end=torch.sigmoid),
    "the margin is there only where height and width both need one; each has its own": _changed(
        margin=lambda x, right, lower: F.pad(x, (0, right, 0, lower), mode="replicate") if right and lower else x
    ),
    "there is no margin: a side that is no multiple of 32 was left as it is": _changed(
        margin=lambda x, right, lower: x
    ),
    "logits may be negative; there is a ReLU after the head": _changed(end=torch.relu),
}
tap_unet = together(
    *(
        build_check(
            "tap_unet",
            "stage 2: equal to the lab's EncoderUNet, for odd sizes, too",
            (name, models.ENCODERS[name]),
            lambda name=name: models.build_model("encoder_unet", initialization="he", encoder=name),
            shapes,
            TAP_MISTAKES,
        )
        for name, shapes in (
            ("resnet18", [((1, 3, 64, 96),), ((1, 3, 45, 70),), ((1, 3, 64, 70),)]),
            ("mobilenet_v3_large", [((1, 3, 90, 32),)]),
        )
    )
)
