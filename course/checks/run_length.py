"""Checks of notebook 05's hand-in: run-length encoding, column-major, counted from 1."""

import csv
import io
from collections.abc import Callable

import numpy as np

from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake

EXAMPLE = np.array([[0, 1, 0], [0, 1, 1]])
"""Column by column 0, 0, 1, 1, 0, 1: runs (3, 2) and (6, 1)."""


def _masks(seed: int) -> dict[str, np.ndarray]:
    """The example, an empty and a full mask, a run over the end of a column, and one up to the last pixel."""
    rng = np.random.default_rng(seed)
    drawn = (rng.random((7, 5)) < 0.5).astype(np.uint8)
    drawn[-1, -1], drawn[0, 0] = 1, 0
    across = np.zeros((3, 3), dtype=np.uint8)
    across[1:, 0], across[:2, 1] = 1, 1
    masks = {"example": EXAMPLE, "empty": np.zeros((3, 4)), "full": np.ones((2, 3)), "across": across, "drawn": drawn}
    return {name: mask.astype(np.uint8) for name, mask in masks.items()}


def _runs(mask: np.ndarray, order: str = "F", first: int = 1) -> np.ndarray:
    flat = np.pad(mask.ravel(order=order).astype(np.int64), 1)
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return np.stack([starts + first, ends - starts], axis=1).astype(np.float64)


def _column_runs(mask: np.ndarray) -> np.ndarray:
    """Runs that stop at the end of each column."""
    parts = [_runs(mask[:, [column]]) + np.array([column * len(mask), 0]) for column in range(mask.shape[1])]
    return np.concatenate(parts)


def _collect_mask_runs(student: Callable, seed: int) -> Collected:
    what, found = "mask_runs", {}
    for name, mask in _masks(seed).items():
        answer = call(student, mask.copy(), what=what)
        runs = as_array(list(answer) if isinstance(answer, zip | map) else answer, what)
        runs = runs.reshape(0, 2) if runs.size == 0 else runs
        expect(
            runs.ndim == 2 and runs.shape[1] == 2 and runs.dtype.kind in "biuf",
            f"{what}: a list of pairs (start, length) is expected, found shape {[*runs.shape]} for the mask {name!r}",
        )
        found[name] = runs.astype(np.float64)
    return found


def _judge_mask_runs(arrays: Collected, seed: int) -> None:
    for name, mask in _masks(seed).items():
        otherwise = f"another list is right for the mask {name!r}, {mask.tolist()}"
        _name_wrong_runs("mask_runs", arrays[name], mask, otherwise)


def _name_wrong_runs(what: str, found: np.ndarray, mask: np.ndarray, otherwise: str) -> None:
    right = _runs(mask)
    mistakes = {
        "pixels are counted from 1, not from 0": _runs(mask, first=0),
        "the mask is read row by row; go down the columns": _runs(mask, order="C"),
        "the mask is read row by row and counted from 0": _runs(mask, order="C", first=0),
        "a pair is start and length, not start and end": np.stack([right[:, 0], right.sum(1) - 1], axis=1),
        "a pair is start and length, not start and the pixel after the end": np.stack(
            [right[:, 0], right.sum(1)], axis=1
        ),
        "those are the runs of the background": _runs(1 - mask),
        "a run goes on in the next column; do not stop at the end of one": _column_runs(mask),
    }
    if len(right) > 0 and right[-1].sum() == mask.size + 1:
        mistakes["the run that reaches the last pixel is lost"] = right[:-1]
    name_mistake(what, found, right, mistakes, otherwise)


mask_runs = Check("mask_runs", "down the columns, counted from 1", _collect_mask_runs, _judge_mask_runs)


def _text(mask: np.ndarray) -> str:
    return " ".join(str(int(number)) for number in _runs(mask).ravel())


def _collect_decoded(student: Callable, seed: int) -> Collected:
    what = "decoded_mask"
    masks = _masks(seed)
    return {name: as_array(call(student, _text(mask), *mask.shape, what=what), what) for name, mask in masks.items()}


def _judge_decoded(arrays: Collected, seed: int) -> None:
    what = "decoded_mask"
    for name, mask in _masks(seed).items():
        found = arrays[name]
        expect(
            found.shape == mask.shape,
            f"{what}: a mask of {mask.shape[0]} rows and {mask.shape[1]} columns is expected, found {[*found.shape]}",
        )
        flat = mask.ravel(order="F")
        mistakes = {
            "the pixels are laid out row by row": flat.reshape(mask.shape),
            "everything lies one pixel too late; the text counts from 1": np.roll(flat, 1).reshape(
                mask.shape, order="F"
            ),
            "pet and background are exchanged": 1 - mask,
        }
        otherwise = f"the mask {name!r} does not come back from {_text(mask)!r}"
        name_mistake(what, found.astype(np.float64), mask, mistakes, otherwise)


decoded_mask = Check("decoded_mask", "what was encoded comes back", _collect_decoded, _judge_decoded)


def _collect_hand_in(student: Callable, seed: int) -> Collected:
    what = "hand_in"
    text = call(student, {name: mask.astype(bool) for name, mask in _masks(seed).items()}, what=what)
    expect(isinstance(text, str), f"{what}: the text of the file is expected, found {type(text).__name__}")
    return {"text": np.array(text)}


def _judge_hand_in(arrays: Collected, seed: int) -> None:
    what, text = "hand_in", str(arrays["text"])
    header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    expect(header == ["image_id", "encoded_mask"], f"{what}: the first line is {','.join(header)!r}, not the header")
    rows = [row for row in rows if row]
    lengths = {len(row) for row in rows}
    expect(lengths <= {2}, f"{what}: a line has {max(lengths, default=0)} fields; two are asked for, with one comma")
    masks, found = _masks(seed), dict(rows)
    missing = [name for name in masks if name not in found]
    expect(missing != ["empty"], f"{what}: the image with an empty mask is left out; its second field is empty")
    expect(not missing, f"{what}: no line for {', '.join(missing)}")
    expect(len(rows) == len(masks), f"{what}: {len(rows)} lines for {len(masks)} images")
    for name, mask in masks.items():
        plain = all(part.isdigit() for part in found[name].split())
        expect(plain, f"{what}: {found[name]!r} is not a list of whole numbers with blanks between them")
        runs = np.array(found[name].split(), dtype=float)
        even = f"{what}: the line of {name!r} has {len(runs)} numbers; each run is a start and a length"
        expect(len(runs) % 2 == 0, even)
        otherwise = f"the line of {name!r} does not hold its runs"
        _name_wrong_runs(what, runs.reshape(-1, 2), mask, otherwise)
    expect([row[0] for row in rows] == list(masks), f"{what}: the lines are not in the order of the images")


hand_in = Check("hand_in", "the file that the lab of 2026 asks for", _collect_hand_in, _judge_hand_in)
