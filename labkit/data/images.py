"""One image file or trimap file as an array, whatever kind of file it really is."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labkit.errors import LabError
from labkit.metrics import IGNORED

TRIMAP_VALUES = (1, 2, 3)  # pet, background, border ("not classified")


def read_image(path: Path, trimap: Path | None = None) -> np.ndarray:
    """Read an image file of any kind that Pillow knows as RGB, `uint8 [H, W, 3]`.

    What matters is the content, not the ending: PNG, GIF, palette, gray, CMYK and 16-bit files come out as
    RGB. An EXIF rotation is applied, but with `trimap` only if image and trimap then agree in size.

    Raises:
        LabError: the file is missing, damaged or no image.
    """
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if trimap is not None:
            with _opened(trimap) as other:
                upright = upright if upright.size == other.size else image
        if upright.mode.startswith("I"):  # 16-bit gray: Pillow would clip instead of scaling
            upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
        return np.asarray(upright.convert("RGB"))


def read_trimap(path: Path, classes: int = 0) -> np.ndarray:
    """Read a trimap, `uint8 [H, W]`, and check that it has no value but 1, 2 and 3.

    With `classes` it is a mask of class indices, whose values are 0 to classes - 1, and 255 for ignored pixels.

    Raises:
        LabError: the file is missing or damaged, or has other values.
    """
    with _opened(path) as image:
        trimap = np.asarray(image)
    found = np.unique(trimap)
    allowed = (*range(classes), IGNORED) if classes else TRIMAP_VALUES
    wrong = found if trimap.ndim != 2 else found[~np.isin(found, allowed)]
    if wrong.size and classes:
        raise LabError(
            f"{path}: a mask of {classes} classes holds one channel with the values 0 to {classes - 1} and 255, "
            f"found {wrong[:8].tolist()}; mend the mask or annotations/classes.txt"
        )
    if wrong.size:
        raise LabError(f"{path}: a trimap holds one channel with the values 1, 2 and 3, found {found[:8].tolist()}")
    return trimap.astype(np.uint8)


def read_class_mask(path: Path) -> np.ndarray:
    """Read a mask of class indices as other data sets store them, `uint8 [H, W]`, with the values that it holds.

    One channel of 1, 8 or 16 bits, or a palette (whose indices count), or three equal channels.

    Raises:
        LabError: the file is missing or damaged, its channels differ, or a value is above 255.
    """
    with _opened(path) as image:
        mode, mask = image.mode, np.asarray(image)
    if mode == "RGB" and (mask == mask[..., :1]).all():
        mask = mask[..., 0]
    if mask.ndim != 2:
        raise LabError(f"{path}: a mask holds one class index a pixel, found {mode} colors; save it as one channel")
    if not 0 <= mask.min() <= mask.max() <= IGNORED:
        raise LabError(f"{path}: class indices are 0 to 255, found {mask.min()} to {mask.max()}; number the classes")
    return mask.astype(np.uint8)


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise LabError(f"{path}: the file is missing; fetch the data again or take its name out of the list") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise LabError(f"{path}: the image is damaged or no image at all ({error}); fetch it again") from None
    return image
