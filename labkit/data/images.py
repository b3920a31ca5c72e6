"""One image file, trimap file or mask file as an array, whatever kind of file it really is."""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labkit.errors import LabError
from labkit.metrics import IGNORED

TRIMAP_VALUES = (1, 2, 3)  # pet, background, border ("not classified")
ORIENTATION = 0x0112  # the EXIF tag
TURN_BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # its value -> the `Image.Transpose` that undoes it
FOREIGN = {  # how files begin that are no images here -> what they are
    rb".{4}ftyp(hei|hev|mif1|msf1)": "a HEIC photo; export it as JPEG or PNG",
    rb"%PDF": "a PDF; export its image as PNG",
    rb"PK|Rar!|7z|\x1f\x8b": "an archive or document, and no image",
    rb"version https://git-lfs": "a pointer of Git LFS; get the file itself with `git lfs pull`",
    rb"\s*<": "a web page or SVG drawing; fetch the image itself, or export it as PNG",
    rb"II\*\0|MM\0\*": "a kind of TIFF or camera file that is not read here; export it as PNG with 8 bits",
}


def in_threads(function: Callable, items: Iterable) -> Iterator:
    """`function` of each item, in their order; in threads, because Pillow decodes outside Python's lock."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(function, items)


def read_image(path: Path, trimap: Path | None = None, orientation: str = "stored") -> np.ndarray:
    """Read an image file of any kind that Pillow knows as RGB, `uint8 [H, W, 3]`.

    Deep gray is scaled by its own range: integers and floats by the smallest of 8, 10, 12, 14 and 16 bits that holds
    the highest value, floats up to 1 by 255. An image alone is turned as its EXIF tag says. With a `trimap` (or mask)
    it is turned if only then the two agree in size; where size cannot tell, `orientation` decides: `stored` (pixels as
    the file has them) or `exif`.

    Raises:
        LabError: the file is missing, damaged or no image, or its values cannot be scaled.
    """
    image, tag = _opened(path)
    upright = ImageOps.exif_transpose(image)
    if trimap is not None and tag in TURN_BACK:
        fits = fitting_orientations(path, trimap)
        if fits in ([], ["stored"]) or (len(fits) == 2 and orientation == "stored"):
            upright = upright.transpose(TURN_BACK[tag])  # and not `image`: Pillow turns TIFFs when it opens them
    return np.asarray((_eight_bits(path, upright) if upright.mode[0] in "IF" else upright).convert("RGB"))


def fitting_orientations(path: Path, trimap: Path) -> list[str]:
    """Which of `stored` and `exif` gives an image the size of its trimap; empty for an image without an EXIF turn.

    With both, size cannot tell on which pixels the trimap was drawn. Only the files' headers are read.
    """
    try:
        with Image.open(path) as image, Image.open(trimap) as other:
            tag, size, wanted = image.getexif().get(ORIENTATION), image.size, other.size
            sizes = {"stored": size, "exif": size[::-1] if tag in (5, 6, 7, 8) else size}
            if image.format == "TIFF":  # whose size is the turned one
                sizes = {"stored": sizes["exif"], "exif": size}
    except (OSError, Image.DecompressionBombError):
        return []  # whoever decodes the file says what is wrong
    return [name for name in sizes if tag in TURN_BACK and sizes[name] == wanted]


def read_trimap(path: Path, classes: int = 0) -> np.ndarray:
    """Read a trimap with the values 1, 2 and 3, or a mask of `classes` class indices and 255, `uint8 [H, W]`.

    Raises:
        LabError: the file is missing or damaged, or has other values.
    """
    trimap = np.asarray(_opened(path)[0])
    allowed = np.isin(trimap, (*range(classes), IGNORED) if classes else TRIMAP_VALUES)
    if trimap.ndim != 2 or not allowed.all():
        expected, remedy = (
            "a trimap holds one channel with the values 1, 2 and 3",
            ("put masks of other values into masks/ beside images/, and let `labkit data get --from` take both"),
        )
        if classes:
            expected = f"a mask of {classes} classes holds one channel with the values 0 to {classes - 1} and 255"
            remedy = "mend the mask or annotations/classes.txt"
        found = np.unique(trimap[~allowed] if trimap.ndim == 2 else trimap)[:8].tolist()
        raise LabError(f"{path}: {expected}, found {found}; {remedy}")
    return trimap.astype(np.uint8)


def check_sizes(path: Path, image: np.ndarray, mask: np.ndarray) -> None:
    """Refuse an image whose mask or trimap has another size; `path` is the image's."""
    if image.shape[:2] != mask.shape:
        (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
        raise LabError(
            f"{path}: the image is {width}x{height} pixels, its mask {mask_width}x{mask_height}; bring both to one size"
        )


def read_mask(path: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The values in a mask `int64 [K]`, of a palette their colors `int64 [K]`, and which each pixel has `int64 [H, W]`.

    The values of a palette image are its indices. Elsewhere gray is its value, another color `-0xRRGGBB` (so that the
    two never meet), a transparent pixel 0, and a file of one bit holds 0 and 255.

    Raises:
        LabError: the file is missing, damaged or a JPEG, or holds other numbers than 0, 1, ... 65535.
    """
    import pandas as pd  # half a second that training need not wait for

    image, _ = _opened(path)
    if image.format in ("JPEG", "MPO"):
        raise LabError(
            f"{path}: the mask is stored as JPEG, which smears its values, and a converted copy keeps the smears; "
            "export it as PNG from where it was drawn, or set each pixel to its nearest true value and save that as PNG"
        )
    held, colors = np.asarray(image.convert("L") if image.mode == "1" else image), None
    if held.ndim == 3:
        held = np.array(image.convert("RGBA"))
        held[held[..., 3] == 0] = 0
        held[..., 3] = 0
        held = held.view("<u4")[..., 0]
    held = held.astype(held.dtype.newbyteorder("="), copy=False)
    place, values = pd.factorize(held.ravel(), use_na_sentinel=False)  # np.unique would sort all pixels
    if held.dtype == np.uint32:
        values = color_numbers(values.astype("<u4").view(np.uint8).reshape(-1, 4))
    elif image.mode == "P":
        palette = np.zeros(768, np.uint8)
        palette[: len(image.getpalette("RGB"))] = image.getpalette("RGB")
        colors = color_numbers(palette.reshape(256, 3)[values])
    elif not 0 <= values.min() <= values.max() < 2**16 or (values % 1).any():
        span = f"{values.min():g} to {values.max():g}"
        raise LabError(f"{path}: a mask holds whole numbers from 0 to 65535, found {span}; number the classes")
    return values.astype(np.int64), colors, place.reshape(held.shape)


def color_numbers(colors: np.ndarray) -> np.ndarray:
    """Gray as its value, other colors as `-0xRRGGBB`: `[K, 3 or 4]` to `int64 [K]`."""
    red, green, blue, *_ = colors.astype(np.int64).T
    return np.where((red == green) & (green == blue), red, -(red << 16 | green << 8 | blue))


def _opened(path: Path) -> tuple[Image.Image, int]:
    """The decoded image, and its EXIF orientation."""
    try:
        with open(path, "rb") as file:  # given the name, Pillow 13 scrambles an uncompressed TIFF with an EXIF turn
            image = Image.open(file)
            deep, tag = ";16" in str(image.tile), image.getexif().get(ORIENTATION)
            image.load()
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise LabError(f"{path}: {_cause(path, error)}") from None
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
        return Image.fromarray((values * 255).round().astype(np.uint8))
    bits = next(bits for bits in (8, 10, 12, 14, 16) if top < 2**bits)
    return Image.fromarray((values // 2 ** (bits - 8)).astype(np.uint8))


def _cause(path: Path, error: Exception) -> str:
    """Why a file cannot be read as an image, and what to do."""
    if path.is_dir():
        return "is a folder, not an image; name or move the image files in it"
    if isinstance(error, FileNotFoundError):
        return why_missing(path)
    if getattr(error, "errno", None):
        return f"cannot be read ({error.strerror})"
    if isinstance(error, Image.DecompressionBombError):
        size, most = (int(number) / 1e6 for number in re.findall(r"\d+", str(error))[:2])
        return f"the image has {size:.0f} megapixels, and more than {most:.0f} are not read; make it smaller"
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        return "the file is empty; copy it again"
    if not isinstance(error, UnidentifiedImageError):
        return f"the image is damaged ({error}); copy it again"
    kinds = (kind for start, kind in FOREIGN.items() if re.match(start, head, re.DOTALL))
    return f"is {next(kinds, 'no image, damaged, or of a kind that is not read here; convert or replace it')}"


def why_missing(path: Path) -> str:
    """What to do about a file that is missing, by what lies beside it."""
    near = sorted(p.name for p in path.parent.glob("*") if p.stem == path.stem)
    if near := [name for name in near if Path(name).suffix.lower() in Image.registered_extensions()]:
        return (
            f"the file is missing, but {near[0]} is there; rename it, or let `labkit data get --data NEW --from THIS` "
            "copy the data, which does that"
        )
    if set("*?[") & set(path.name):
        return "the file is missing: no name fits this pattern"
    return "the file is missing; check its name, take it out of the list, or get the data again"
