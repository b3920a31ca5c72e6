"""One image file, trimap file or mask file as an array, whatever kind of file it really is."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labkit.errors import LabError
from labkit.metrics import IGNORED

MISSING = (
    "the file is missing; check its name, take it out of the list, or let `labkit data get --data NEW --from THIS` "
    "copy the data, which takes images of any ending"
)
TRIMAP_VALUES = (1, 2, 3)  # pet, background, border ("not classified")
ORIENTATION = 0x0112  # the EXIF tag
TURN_BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # its value -> the `Image.Transpose` that undoes it


def in_threads(function: Callable, items: Iterable) -> Iterator:
    """`function` of each item, in their order; in threads, because Pillow decodes outside Python's lock."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(function, items)


def read_image(path: Path, trimap: Path | None = None) -> np.ndarray:
    """Read an image file of any kind that Pillow knows as RGB, `uint8 [H, W, 3]`.

    Of gray with more than 8 bits, the 8 highest bits of its highest value are kept; floats up to 1 are scaled by 255.
    An image alone is turned as its EXIF tag says, one with a `trimap` (or mask) if only then the two agree in size.
    Where they agree either way, it is read as it is stored, and a warning says so. LabError: the file is missing,
    damaged or no image, or its values cannot be scaled.
    """
    image, tag = _decoded(path)
    upright = ImageOps.exif_transpose(image)
    if trimap is not None and tag in TURN_BACK:
        stored = upright.transpose(TURN_BACK[tag])  # and not `image`: Pillow turns TIFFs when it opens them
        if upright.size == stored.size:
            warnings.warn(
                f"{path}: has an EXIF turn, and size cannot tell whether its mask has; it is read as stored (if the "
                "mask was drawn on the turned image, save that one without EXIF)",
                stacklevel=2,
            )
        upright = upright if upright.size == _decoded(trimap)[0].size != stored.size else stored
    return np.asarray((_eight_bits(path, upright) if upright.mode[0] in "IF" else upright).convert("RGB"))


def read_trimap(path: Path, classes: int = 0) -> np.ndarray:
    """Read a trimap with the values 1, 2 and 3, or a mask of `classes` class indices and 255, `uint8 [H, W]`."""
    trimap = np.asarray(_decoded(path)[0])
    allowed = np.isin(trimap, (*range(classes), IGNORED) if classes else TRIMAP_VALUES)
    if trimap.ndim != 2 or not allowed.all():
        expected = f"the values 0 to {classes - 1} and 255 ({classes} classes)" if classes else "the values 1, 2 and 3"
        found = np.unique(trimap[~allowed] if trimap.ndim == 2 else trimap)[:8].tolist()
        raise LabError(
            f"{path}: expected one channel with {expected}, found {found}; correct it, or put masks of your own in "
            "masks/ beside images/ and let `labkit data get --from` take both"
        )
    return trimap.astype(np.uint8)


def check_sizes(path: Path, image: np.ndarray, mask: np.ndarray) -> None:
    """Refuse an image whose mask or trimap has another size; `path` is the image's."""
    if image.shape[:2] != mask.shape:
        (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
        both = f"the image is {width}x{height} pixels, its mask {mask_width}x{mask_height}"
        raise LabError(f"{path}: {both}; bring both to one size")


def read_mask(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The value of each pixel of a mask `uint8 [H, W]`, and the color of each value as `0xRRGGBB`, `int64 [256]`.

    Values are gray values, however the gray is stored (one bit: 0 and 255; transparent pixels: 0), or the indices of a
    palette that holds colors. LabError: the file is missing, damaged, in colors or a JPEG, or holds other numbers.
    """
    image, _ = _decoded(path)
    if image.format in ("JPEG", "MPO"):
        raise LabError(
            f"{path}: the mask is stored as JPEG, which smears its values, and a converted copy keeps the smears; "
            "export it as PNG from where it was drawn, or set each pixel to its nearest true value and save that as PNG"
        )
    colors = np.arange(256)[:, None].repeat(3, axis=1)
    palette = np.reshape(image.getpalette("RGB") if image.mode == "P" else [], (-1, 3)).astype(int)
    if (palette != palette[:, :1]).any():
        held, colors[: len(palette)] = np.asarray(image), palette
    else:
        held = np.asarray(image.convert("L") if image.mode in "1P" else image)
    if held.ndim == 3:
        held = np.array(image.convert("RGBA"))
        held[held[..., 3] == 0] = 0
        if (held[..., :3] != held[..., :1]).any():
            raise LabError(f"{path}: the mask is in colors; save it with one number a pixel, such as 0, 1, 2, as PNG")
        held = held[..., 0]
    low, top = held.min(), held.max()
    if not 0 <= low <= top <= 255 or (held % 1).any():
        raise LabError(f"{path}: a mask holds whole numbers from 0 to 255, found {low:g} to {top:g}; number classes so")
    return held.astype(np.uint8), colors @ (1 << 16, 1 << 8, 1)


def _decoded(path: Path) -> tuple[Image.Image, int]:
    """The decoded image, and its EXIF orientation."""
    try:
        with open(path, "rb") as file:  # given the name, Pillow 13 scrambles an uncompressed TIFF with an EXIF turn
            image = Image.open(file)
            deep, tag = ";16" in str(image.tile), image.getexif().get(ORIENTATION)
            image.load()
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise LabError(f"{path}: {_cause(error)}") from None
    if deep and image.mode[0] != "I" and np.asarray(image.convert("RGB")).max() < 16:
        raise LabError(f"{path}: of its 16 bits a channel only the lower ones are used; bring its values to 8 bits")
    return image, tag


def _eight_bits(path: Path, image: Image.Image) -> Image.Image:
    """Gray of 16 or 32 bits in 8; Pillow itself would clip instead of scaling."""
    values = np.asarray(image)
    low, top = values.min(), values.max()
    if not 0 <= low <= top < 2**16:  # also where one is NaN
        raise LabError(f"{path}: holds values from {low:g} to {top:g}; bring them to 0..255 (8 bits) or 0..65535 (16)")
    if values.dtype.kind == "f" and top <= 1:
        values, top = (values * 255).round(), 255
    return Image.fromarray((values // 2 ** max(0, int(top).bit_length() - 8)).astype(np.uint8))


def _cause(error: Exception) -> str:
    """Why a file cannot be read as an image, and what to do."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, UnidentifiedImageError):
        return "is empty, no image, or of a kind that is not read here, such as HEIC or PDF; export it as PNG or JPEG"
    if getattr(error, "errno", None):
        return f"cannot be read ({error.strerror}); name an image file that you may read"
    return f"the image is damaged or too large ({error}); copy it again, or make it smaller"
