"""Checks of notebook 01's predictions, faults and build: right answers pass, each usual mistake is named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from course import checks
from labkit.data import resize_image, resize_trimap
from tests.course.refusals import refuse

# --- predictions


@pytest.mark.parametrize("answer", [(22, 3), [22, 3], np.array([22.0, 3.0])])
def test_the_right_sizes_pass(answer):
    checks.split_sizes(answer)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ((23, 2), "the first name has i = 0"),
        ((3, 22), "train, then valid"),
        ((22.5, 2.5), "not for a tenth of them"),
        ((20, 5), "write down i"),
        (22, "two numbers"),
        (None, "nothing came back"),
    ],
)
def test_wrong_sizes_are_named(answer, named):
    refuse(checks.split_sizes, answer, named)


@pytest.mark.parametrize("answer", [(0.1, 0.8), [1 / 10, 8 / 10]])
def test_the_right_shares_pass(answer):
    checks.choice_shares(answer)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ((0.2, 0.8), "only where RandomChoice"),
        ((0.2, 0.64), "both in a row"),
        ((0.1, 0.9), "neither of the two"),
        ((0.5, 0.0), "the chance to be chosen"),
        ((0.3, 0.3), "draw a tree"),
    ],
)
def test_wrong_shares_are_named(answer, named):
    refuse(checks.choice_shares, answer, named)


# --- labels made smaller


def by_pillow(labels, side):
    return resize_trimap(labels, (side, side))


def by_interpolate(labels, side):
    return F.interpolate(torch.tensor(labels)[None, None].float(), (side, side), mode="nearest")[0, 0].byte()


def by_stride(labels, side):
    step = len(labels) // side
    return labels[step // 2 :: step, step // 2 :: step]


def by_torchvision(labels, side):
    return v2.functional.resize(torch.tensor(labels)[None], [side, side], InterpolationMode.NEAREST_EXACT)[0].tolist()


def bilinear(labels, side, antialias=False):
    amounts = torch.tensor(labels)[None, None].float()
    return F.interpolate(amounts, (side, side), mode="bilinear", antialias=antialias)[0, 0]


@pytest.mark.parametrize("answer", [by_pillow, by_interpolate, by_stride, by_torchvision])
def test_right_labels_pass(answer):
    for seed in range(3):
        checks.smaller_labels(answer, seed)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda x, s: bilinear(x, s, True), "no.* halfway"),
        (lambda x, s: bilinear(x, s, True).long(), "cut to integers"),
        (lambda x, s: bilinear(x, s).int(), "cut to integers"),
        (lambda x, s: bilinear(x, s, True).round(), "makes up a 2"),
        (lambda x, s: by_pillow(x, s)[::-1], "none of the 4x4 pixels"),
        (lambda x, s: np.minimum(by_pillow(x, s), 3), "none of the 2x2 pixels"),
        (lambda x, s: x[::4, ::4], "the shape .* is asked for"),
        (lambda x, s: x, "the shape .* is asked for"),
        (lambda x, s: None, "nothing came back"),
        (lambda x, s: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_wrong_labels_are_named(answer, named):
    refuse(checks.smaller_labels, answer, named)


# --- image and mask in step


def with_tensors_told_apart(image, mask, transform):
    return transform(tv_tensors.Image(image), tv_tensors.Mask(mask))


def with_the_same_seed(image, mask, transform):
    seed = int(torch.randint(2**31, ()))
    torch.manual_seed(seed)
    moved = transform(image)
    torch.manual_seed(seed)
    found = (transform(mask[None].float()) > 0.5)[0].long()
    torch.manual_seed(seed + 1)
    return moved, found


def with_four_channels(image, mask, transform):
    both = transform(torch.cat([image, mask[None].float()]))
    return both[:3], both[3].round().long()


@pytest.mark.parametrize("answer", [with_tensors_told_apart, with_the_same_seed, with_four_channels])
def test_pairs_in_step_pass(answer):
    for seed in range(2):
        checks.move_pair(answer, seed)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda x, y, t: (t(x), t(y[None].float())[0].round().long()), "moved apart"),
        (lambda x, y, t: t(x, y), "the mask has not moved"),
        (lambda x, y, t: (x, t(tv_tensors.Mask(y))), "the image has not moved"),
        (lambda x, y, t: (x, y), "is never called"),
        (lambda x, y, t: t(torch.cat([x, y[None].float()])).split([3, 1])[0], "return the image and the mask"),
        (lambda x, y, t: (lambda b: (b[:3], b[3]))(t(torch.cat([x, y[None].float()]))), "was interpolated"),
        (lambda x, y, t: (torch.manual_seed(1), with_tensors_told_apart(x, y, t))[1], "every call gives the same"),
    ],
)
def test_pairs_out_of_step_are_named(answer, named):
    refuse(checks.move_pair, answer, named)


# --- the build: tensors


def tensors_by_pillow(image, trimap, side):
    pixels = torch.tensor(resize_image(image, (side, side))).permute(2, 0, 1).float() / 255
    return pixels, torch.tensor(resize_trimap(trimap, (side, side)) != 2).long()


def tensors_by_torchvision(image, trimap, side):
    pixels = v2.functional.resize(torch.tensor(image).permute(2, 0, 1), [side, side], antialias=True)
    small = v2.functional.resize(torch.tensor(trimap)[None], [side, side], InterpolationMode.NEAREST)[0]
    return v2.functional.to_dtype(pixels, torch.float32, scale=True), torch.isin(small, torch.tensor([1, 3])).long()


def tensors_by_interpolate(image, trimap, side):
    planes = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    small = F.interpolate(torch.tensor(trimap)[None, None].float(), (side, side), mode="nearest-exact")[0, 0]
    pixels = F.interpolate(planes, (side, side), mode="bilinear", antialias=True)[0]
    return pixels, torch.where(small == 2, 0, 1)


@pytest.mark.parametrize("answer", [tensors_by_pillow, tensors_by_torchvision, tensors_by_interpolate])
def test_right_tensors_pass(answer):
    for seed in range(3):
        checks.pair_to_tensors(answer, seed)


def shrunk(image, trimap, side, method):
    pixels = torch.tensor(np.array(Image.fromarray(image).resize((side, side), method))).permute(2, 0, 1).float() / 255
    return pixels, tensors_by_pillow(image, trimap, side)[1]


def changed(image=lambda x: x, mask=lambda y: y):
    def answer(pixels, trimap, side):
        x, y = tensors_by_pillow(pixels, trimap, side)
        return image(x), mask(y)

    return answer


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (changed(image=lambda x: x * 255), "divide by 255"),
        (changed(image=lambda x: x * 255 / 256), "0.9961 of the right ones; divide by 255"),
        *(
            (lambda i, t, s, m=m: shrunk(i, t, s, m), name)
            for m, name in ((Image.BICUBIC, "Pillow's default"), (Image.LANCZOS, "Lanczos"), (Image.BOX, "a box"))
        ),
        (changed(image=lambda x: x.permute(1, 2, 0)), "channels come first"),
        (changed(image=lambda x: x.double()), "float64; networks take float32"),
        (changed(image=lambda x: x.flip(2)), "mirrored"),
        (changed(image=lambda x: x.flip(0)), "red and blue"),
        (changed(image=lambda x: x.transpose(1, 2)), "height and width"),
        (changed(mask=lambda y: y.float()), "class indices are int64"),
        (changed(mask=lambda y: 1 - y), "inverted"),
        (changed(mask=lambda y: y * 255), "holds 0 and 1"),
        (changed(mask=lambda y: y.flip(0)), "not where the pet is"),
        (lambda i, t, s: (tensors_by_pillow(i, t, s)[0], torch.tensor(resize_trimap(t, (s, s)) == 1).long()), "border"),
        (lambda i, t, s: (tensors_by_pillow(i, t, s)[0], torch.tensor(resize_trimap(t, (s, s)) > 0).long()), "not 0"),
        (lambda i, t, s: (tensors_by_pillow(i, t, s)[0], (bilinear(t, s, True).long() != 2).long()), "interpolated"),
        (
            lambda i, t, s: (
                F.interpolate(torch.tensor(i).permute(2, 0, 1)[None].float() / 255, (s, s), mode="bilinear")[0],
                tensors_by_pillow(i, t, s)[1],
            ),
            "without antialiasing",
        ),
        (
            lambda i, t, s: (
                torch.tensor(np.array(Image.fromarray(i).resize((s, s), 0))).permute(2, 0, 1).float() / 255,
                tensors_by_pillow(i, t, s)[1],
            ),
            "nearest neighbor",
        ),
        (lambda i, t, s: (i, t), "is no tensor"),
        (lambda i, t, s: None, "return the image and the mask"),
    ],
)
def test_wrong_tensors_are_named(answer, named):
    refuse(checks.pair_to_tensors, answer, named)


# --- the build: a flip


def flip_by_hand(image, mask, p):
    return (image.flip(-1), mask.flip(-1)) if torch.rand(()) < p else (image, mask)


def flip_by_torchvision(image, mask, p):
    return v2.RandomHorizontalFlip(p)(tv_tensors.Image(image), tv_tensors.Mask(mask))


def flip_by_numpy(image, mask, p):
    turn = np.random.default_rng().random() < p
    return (image.numpy()[..., ::-1], mask.numpy()[:, ::-1]) if turn else (image.numpy(), mask.numpy())


@pytest.mark.parametrize("answer", [flip_by_hand, flip_by_torchvision, flip_by_numpy])
def test_right_flips_pass(answer):
    checks.flip_pair(answer)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda x, y, p: (flip_by_hand(x, y, p)[0], flip_by_hand(x, y, p)[1]), "draw one number for both"),
        (lambda x, y, p: (flip_by_hand(x, y, p)[0], y), "the mask is not"),
        (lambda x, y, p: (x, flip_by_hand(x, y, p)[1]), "the image is not"),
        (lambda x, y, p: (x.flip(-2), y.flip(-2)) if torch.rand(()) < p else (x, y), "upside down"),
        (lambda x, y, p: flip_by_hand(x, y, 1 - p), "with p = 0, 100% are flipped"),
        (lambda x, y, p: flip_by_hand(x, y, p * p), "at p = 0.25 "),
        (lambda x, y, p: flip_by_hand(x, y, float(p > 0.7)), "0 of 300 pairs"),
        (lambda x, y, p: (x.flip(0), y), "neither the old one nor its mirror"),
        (lambda x, y, p: x, "return the image and the mask"),
    ],
)
def test_wrong_flips_are_named(answer, named):
    refuse(checks.flip_pair, answer, named)


# --- the build: the Dataset


class Pairs(Dataset):
    """As the notebook's solution."""

    def __init__(self, root, names, side, transform=None):
        self.root, self.names, self.side, self.transform = root, names, side, transform

    def __len__(self):
        return len(self.names)

    def read(self, name):
        image = Image.open(self.root / "images" / f"{name}.jpg").convert("RGB")
        trimap = Image.open(self.root / "annotations" / "trimaps" / f"{name}.png")
        return np.array(image), np.array(trimap)

    def __getitem__(self, index):
        pair = tensors_by_pillow(*self.read(self.names[index]), self.side)
        return self.transform(*pair) if self.transform else pair


class OfTorchvision(Pairs):
    def __getitem__(self, index):
        pair = tensors_by_torchvision(*self.read(self.names[index]), self.side)
        return pair if self.transform is None else self.transform(*pair)


@pytest.mark.parametrize("answer", [Pairs, OfTorchvision])
def test_right_datasets_pass(answer):
    for seed in range(2):
        checks.pet_pairs(answer, seed)


def test_the_labs_own_dataset_passes():
    """The lists are written beside the files first."""
    from labkit.data import PetDataset

    class OfTheLab(Dataset):
        def __init__(self, root, names, side, transform=None):
            lines = [f"{name} 1 1 1" for name in names]
            for part, rows in (("list", lines), ("trainval", lines[1:]), ("test", lines[:1])):
                (root / "annotations" / f"{part}.txt").write_text("\n".join(rows))
            mine = root / "annotations" / "splits" / "mine"
            mine.mkdir(parents=True, exist_ok=True)
            (mine / "train.txt").write_text("\n".join(names))
            self.data = PetDataset(root, "mine/train", image_size=side, transform=transform)

        def __len__(self):
            return len(self.data)

        def __getitem__(self, index):
            return self.data[index]

    checks.pet_pairs(OfTheLab)


def twice(pair, dataset):
    change = dataset.transform
    return (change(*pair)[0], change(*pair)[1]) if change else pair


def variant(**methods):
    return type("Variant", (Pairs,), methods)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (variant(__len__=lambda self: 3), "len.. says 3 for 5 names"),
        (
            variant(__getitem__=lambda self, i: tensors_by_pillow(*self.read(self.names[i]), self.side)),
            "transform is not",
        ),
        (variant(__getitem__=lambda self, i: Pairs.__getitem__(self, i)[0]), "a pair of image and mask"),
        (
            variant(__getitem__=lambda self, i: Pairs.__getitem__(self, len(self) - 1 - i)),
            "that is the image of",
        ),
        (
            variant(names=property(lambda self: sorted(self.kept), lambda self, names: vars(self).update(kept=names))),
            "image of",
        ),
        (
            variant(__getitem__=lambda self, i: twice(tensors_by_pillow(*self.read(self.names[i]), self.side), self)),
            "called twice",
        ),
        (variant(read=lambda self, n: tuple(map(np.array, open_raw(self, n)))), "failed|channels"),
        (lambda root, names, side, transform=None: [1, 2], "derive the class"),
        (type("Empty", (Dataset,), {"__init__": lambda self, *_: None}), "__len__ is missing"),
        (lambda *_: None, "derive the class"),
        (lambda root: None, "TypeError"),
    ],
)
def test_wrong_datasets_are_named(answer, named):
    refuse(checks.pet_pairs, answer, named)


def open_raw(self, name):
    trimap = self.root / "annotations" / "trimaps" / f"{name}.png"
    return Image.open(self.root / "images" / f"{name}.jpg"), Image.open(trimap)


# --- a batch


def shape(values):
    return values[:, None, None]


def batch_where(images, masks, mean, std):
    flip = torch.rand(len(images)) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    masks = torch.where(flip[:, None, None], masks.flip(-1), masks)
    return (images.float() / 255 - shape(mean)) / shape(std), masks


def batch_loop(images, masks, mean, std):
    images = v2.functional.normalize(images / 255, mean.tolist(), std.tolist())
    pairs = [(x.flip(-1), y.flip(-1)) if torch.randint(2, ()) else (x, y) for x, y in zip(images, masks, strict=True)]
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])


def batch_by_torchvision(images, masks, mean, std):
    flip = v2.RandomHorizontalFlip(0.5)
    pairs = [flip(tv_tensors.Image(x), tv_tensors.Mask(y)) for x, y in zip(images, masks, strict=True)]
    finish = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean.tolist(), std.tolist())])
    return finish(torch.stack([x for x, _ in pairs])), torch.stack([y for _, y in pairs])


def batch_in_place(images, masks, mean, std):
    images, masks = images.clone(), masks.clone()
    return spoiled_batch(images, masks, mean, std)


def spoiled_batch(images, masks, mean, std):
    chosen = torch.randperm(len(images))[: torch.distributions.Binomial(len(images), 0.5).sample().int()]
    images[chosen], masks[chosen] = images[chosen].flip(3), masks[chosen].flip(2)
    return ((images.double() - 255 * shape(mean)) / (255 * shape(std))).float(), masks


@pytest.mark.parametrize("answer", [batch_where, batch_loop, batch_by_torchvision, batch_in_place])
@pytest.mark.parametrize("seed", [0, 7])
def test_right_batches_pass(answer, seed):
    checks.training_batch(answer, seed)


def all_or_none(images, masks, mean, std):
    images = (images / 255 - shape(mean)) / shape(std)
    return (images.flip(-1), masks.flip(-1)) if torch.rand(()) < 0.5 else (images, masks)


def with_images(change):
    """A batch whose images are right in their draws and wrong in their numbers."""

    def answer(images, masks, mean, std):
        zero, one = torch.zeros(3), torch.ones(3)
        flipped, masks = batch_where(images, masks, zero, one)
        return change(flipped, shape(mean), shape(std)), masks

    return answer


def fixed_draw(images, masks, mean, std):
    torch.manual_seed(1)
    return batch_where(images, masks, mean, std)


def rarely(images, masks, mean, std):
    flip = torch.rand(len(images)) < 0.1
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    masks = torch.where(flip[:, None, None], masks.flip(-1), masks)
    return (images / 255 - shape(mean)) / shape(std), masks


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (all_or_none, "all or none"),
        (with_images(lambda x, m, s: x * 255), r"scale 0\.\.255"),
        (with_images(lambda x, m, s: (x * 255 - m) / s), "divide by 255 before"),
        (with_images(lambda x, m, s: x), "not normalized"),
        (with_images(lambda x, m, s: x - m), "nothing is divided"),
        (with_images(lambda x, m, s: x / s - m), "first subtract"),
        (lambda x, y, m, s: (batch_where(x, y, m, s)[0], y), "its mask is not"),
        (lambda x, y, m, s: (batch_where(x, y, m, s)[0], batch_where(x, y, m, s)[1]), "its mask is not"),
        (lambda x, y, m, s: ((x / 255 - shape(m)) / shape(s), y), "no image was mirrored"),
        (lambda x, y, m, s: (((x / 255 - shape(m)) / shape(s)).flip(-1), y.flip(-1)), "every image is mirrored"),
        (lambda x, y, m, s: (((x / 255 - shape(m)) / shape(s)).flip(-2), y.flip(-2)), "left to right"),
        (fixed_draw, "every call mirrors the same"),
        (lambda *a: [part.double() for part in batch_where(*a)], "images are float64"),
        (lambda *a: (batch_where(*a)[0], batch_where(*a)[1].bool()), "masks are bool"),
        (spoiled_batch, "changed in place"),
        (rarely, "one half shall be"),
        (lambda x, y, m, s: batch_where(x, y, m, s)[0], "return the images and the masks"),
        (lambda x, y, m, s: (x[0], y), "the images come back as"),
        (lambda x, y, m, s: None, "found NoneType"),
        (lambda x, y: (x, y), "TypeError"),
    ],
)
def test_wrong_batches_are_named(answer, named):
    refuse(checks.training_batch, answer, named)
