"""Run-length encoding of masks, as the lab's hand-in wants it: pairs of start and length, column by column, from 1.

The pixels of a mask are numbered from top to bottom, then from left to right, beginning at 1; `"3 2 9 1"` is the
pixels 3, 4 and 9. An empty mask is an empty text.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from labkit.errors import LabError
from labkit.files import written_whole

HEADER = ["image_id", "encoded_mask"]


def rle_encode(mask: np.ndarray) -> str:
    """A mask `[H, W]`, in which everything but 0 is foreground, as text."""
    flat = np.asarray(mask).T.reshape(-1) != 0
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))  # where runs begin and end, in turns
    return " ".join(f"{start + 1} {end - start}" for start, end in edges.reshape(-1, 2))


def rle_decode(text: str, size: tuple[int, int]) -> np.ndarray:
    """The mask `bool [H, W]` of a text; `size` is (height, width). LabError: the text is no list of runs that fit."""
    height, width = size
    try:
        numbers = np.array([int(part) for part in text.split()], dtype=np.int64)
    except ValueError:
        raise LabError(f"run lengths: {text[:40]!r} holds something that is no whole number") from None
    if len(numbers) % 2:
        raise LabError(f"run lengths: {len(numbers)} numbers; a start and a length for each run are expected")
    flat, end = np.zeros(height * width, dtype=bool), 0
    for start, length in numbers.reshape(-1, 2):
        if length < 1 or start <= end:
            raise LabError(f"run lengths: the run {start} {length} is empty, overlaps another, or is out of order")
        end = start + length - 1
        if end > height * width:
            raise LabError(f"run lengths: the run {start} {length} leaves an image of {height}x{width} pixels")
        flat[start - 1 : end] = True
    return flat.reshape(width, height).T


def write_rle(path: Path, masks: Iterable[tuple[str, np.ndarray]]) -> int:
    """Write `image_id,encoded_mask` for masks by name; returns how many."""
    number = 0
    with written_whole(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for name, mask in masks:
            writer.writerow([name, rle_encode(mask)])
            number += 1
    return number


def read_rle(path: Path) -> Iterator[tuple[str, str]]:
    """Name and encoded mask of each row; a `LabError` where the file is no such table."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if (header := next(rows, [])) != HEADER:
                raise LabError(f"{path}: its first line is {','.join(header)!r}; {','.join(HEADER)!r} is expected")
            for number, row in enumerate(rows, start=2):
                if len(row) != len(HEADER):
                    raise LabError(f"{path}, line {number}: {len(row)} columns; name and encoded mask are expected")
                yield row[0], row[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabError(f"{path}: cannot be read as CSV ({error})") from None
