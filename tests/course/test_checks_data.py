import math

import numpy as np
import pytest
import torch

from course import checks
from course.checks.verdict import WrongAnswer

# --- a mask from a trimap


def mask_vectorised(trimap, border_is_pet):
    pet = trimap == 1
    return (pet | (trimap == 3)).long() if border_is_pet else pet.long()


def mask_loop(trimap, border_is_pet):
    wanted = (1, 3) if border_is_pet else (1,)
    return [[1 if int(value) in wanted else 0 for value in row] for row in trimap]


def mask_numpy_bool(trimap, border_is_pet):
    return np.isin(np.asarray(trimap), [1, 3] if border_is_pet else [1])


@pytest.mark.parametrize("answer", [mask_vectorised, mask_loop, mask_numpy_bool])
def test_right_masks_pass(answer, capsys):
    checks.mask_strict_or_not(answer)
    assert capsys.readouterr().out.startswith("✓ mask_strict_or_not")


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda t, b: t == 1, "only trimap value 1"),
        (lambda t, b: t != 2, "always pet"),
        (lambda t, b: (t == 1) | (t == 2) if b else t == 1, "value 2 came out as pet"),
        (lambda t, b: t == 2, "value 2 came out as pet"),
        (lambda t, b: t > 0, "every pixel"),
        (lambda t, b: t.bool(), "every pixel"),
        (lambda t, b: t == 2 if b else t != 1, "inverted"),
        (lambda t, b: t == 1 if b else t != 2, "border_is_pet is inverted"),
        (lambda t, b: 255 * mask_vectorised(t, b), "255 means ignored"),
        (lambda t, b: t, "class indices"),
        (lambda t, b: mask_vectorised(t, b)[None], "the size of the trimap"),
        (lambda t, b: t == 3, "border alone came out as pet"),
        (lambda t, b: t == 3 if b else t == 1, "border alone came out as pet"),
        (lambda t, b: None, "nothing came back"),
        (lambda t: t, "TypeError"),
        (lambda t, b: mask_vectorised(t, b) * (torch.arange(t.shape[1]) > 0), "some pixels"),
    ],
)
def test_wrong_masks_are_named(answer, named):
    with pytest.raises(WrongAnswer, match=named):
        checks.mask_strict_or_not(answer)


# --- mean and standard deviation


def statistics_numpy(images, train):
    scaled = images[train] / 255
    return scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))


def statistics_unbiased_tensor(images, train):
    pixels = torch.from_numpy(images)[torch.from_numpy(train)].float().view(-1, 3) / 255
    return pixels.mean(0), pixels.std(0)


def statistics_loop(images, train):
    mean, std = [], []
    for channel in range(3):
        values = [int(v) / 255 for i in train for v in images[i, ..., channel].ravel()]
        middle = sum(values) / len(values)
        mean.append(middle)
        std.append(math.sqrt(sum((v - middle) ** 2 for v in values) / len(values)))
    return mean, std


def statistics_two_moments(images, train):
    scaled = images[train].astype(np.float32) / 255
    mean = scaled.mean((0, 1, 2))
    return mean, np.sqrt((scaled**2).mean((0, 1, 2)) - mean**2)


@pytest.mark.parametrize(
    "answer", [statistics_numpy, statistics_unbiased_tensor, statistics_loop, statistics_two_moments]
)
def test_right_statistics_pass(answer, capsys):
    for seed in (0, 5):
        checks.channel_statistics(answer, seed)
    assert capsys.readouterr().out.startswith("✓ channel_statistics")


def with_std(std):
    return lambda images, train: ((images[train] / 255).mean((0, 1, 2)), std(images[train] / 255))


def of_training(wrong):
    return lambda images, train: wrong(images[train])


def squares_in_uint8(x):
    mean = (x / 255).mean((0, 1, 2))
    return mean, np.sqrt(abs((x * x).mean((0, 1, 2)) / 255**2 - mean**2))


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (of_training(lambda x: ((x / 256).mean((0, 1, 2)), (x / 256).std((0, 1, 2)))), "a byte is 255"),
        (lambda x, t: statistics_numpy(x, np.arange(len(x))), "validation and test as well"),
        (lambda x, t: (x.mean((0, 1, 2)), x.std((0, 1, 2))), "validation and test as well"),
        (lambda x, t: statistics_numpy(x, np.arange(len(t))), "need not be the first"),
        (lambda x, t: (statistics_numpy(x, t)[0], (x / 255).std((0, 1, 2))), "still of all images"),
        (with_std(lambda x: x.std((1, 2)).mean(0)), "images' own standard deviations"),
        (with_std(lambda x: x.mean((1, 2)).std(0)), "over the images' means"),
        (with_std(lambda x: x.mean((1, 2)).std(0, ddof=1)), "over the images' means"),
        (with_std(lambda x: x.var((0, 1, 2))), "variance"),
        (with_std(lambda x: 255 * x.std((0, 1, 2))), r"0\.\.255"),
        (of_training(lambda x: (x.mean((0, 1, 2)), x.std((0, 1, 2)))), r"0\.\.255"),
        (lambda x, t: statistics_numpy(x, t)[::-1], "wrong order"),
        (of_training(lambda x: ((x / 255).mean(), (x / 255).std())), "single number"),
        (of_training(lambda x: ((x / 255).mean((1, 2, 3)), (x / 255).std((1, 2, 3)))), "last axis"),
        (of_training(squares_in_uint8), "uint8"),
        (of_training(lambda x: (squares_in_uint8(x)[0], np.full(3, np.nan))), "not a number: the squares"),
        (of_training(lambda x: (x / 255).mean((0, 1, 2))[:2]), "mean is a single number"),
        (lambda x, t: None, "nothing came back"),
        (lambda x, t: 0.5, "two arrays"),
        (lambda x, t: (statistics_numpy(x, t)[0] + 0.01, statistics_numpy(x, t)[1]), "over which axes is it"),
        (lambda x, t: (statistics_numpy(x, t)[0], statistics_numpy(x, t)[1] + 0.01), "over which pixels is it"),
    ],
)
def test_wrong_statistics_are_named(answer, named):
    for seed in (0, 5):
        with pytest.raises(WrongAnswer, match=named):
            checks.channel_statistics(answer, seed)


# --- the matrix of a rotation


def rotation_inverse(degrees):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0]])


def rotation_nested_list(degrees):
    return rotation_inverse(degrees).tolist()


def rotation_by_inverting(degrees):
    turn = np.eye(3)
    a = np.deg2rad(degrees)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return np.linalg.inv(turn)[None, :2]


@pytest.mark.parametrize("answer", [rotation_inverse, rotation_nested_list, rotation_by_inverting])
def test_right_rotations_pass(answer, capsys):
    checks.rotation_matrix(answer)
    assert capsys.readouterr().out.startswith("✓ rotation_matrix")


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda d: rotation_inverse(-d), "forward matrix"),
        (lambda d: rotation_inverse(math.degrees(d)), "radians"),
        (lambda d: rotation_inverse(-math.degrees(d)), "radians"),
        (lambda d: rotation_inverse(d)[[1, 0]], "mirrored"),
        (lambda d: rotation_inverse(d)[:, [1, 0, 2]], "mirrored"),
        (lambda d: rotation_inverse(d) + torch.tensor([[0, 0, 0.5], [0, 0, 0]]), "last column"),
        (lambda d: 2 * rotation_inverse(d), "where it maps the corners"),
        (lambda d: rotation_inverse(d)[:, :2], r"found the shape \(2, 2\)"),
        (lambda d: ..., "replace the"),
        (lambda d: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_wrong_rotations_are_named(answer, named):
    with pytest.raises(WrongAnswer, match=named):
        checks.rotation_matrix(answer)


def test_the_oracle_turns_clockwise():
    # one bright pixel above the center must come out right of the center after a quarter turn clockwise
    picture = torch.zeros(1, 1, 9, 9)
    picture[0, 0, 1, 4] = 1
    grid = torch.nn.functional.affine_grid(rotation_inverse(90)[None], [1, 1, 9, 9], align_corners=False)
    turned = torch.nn.functional.grid_sample(picture, grid, align_corners=False)
    assert turned[0, 0].argmax().item() == 4 * 9 + 7
