"""What `course doctor` finds in the lab: data, arrays, networks, runs, and what was left half-done."""

import os
import re
import shlex
import time
import tomllib
from pathlib import Path

from course.checkup import Found
from labkit.cli.shell import shown_path
from labkit.errors import some_of
from labkit.files import home


def data_sets(data: str) -> Found:
    """Which data are there, whole, and what a killed import has left behind."""
    from labkit.data.pets import data_root, open_pets

    for name in dict.fromkeys(("sample", "pets", data)):
        root = data_root(name)
        get = f"labkit data get --data {name}"
        folder = root / "oxford-iiit-pet" if (root / "oxford-iiit-pet").is_dir() else root
        if not (folder / "images").is_dir():
            known = name in ("sample", "pets")
            # only what was asked for is missed: the sample is unpacked by itself, and the pets are not needed for it
            level = "broken" if name == data and name != "sample" else "note" if name == data else "ok"
            yield level, f"{name}: not there" + ("" if known else f" ({root})"), get if name == data and known else ""
            continue
        pets = open_pets(name)
        files = {entry.name for entry in os.scandir(folder / "images")}
        lacking = [pet.name for pet in pets.items if f"{pet.name}.jpg" not in files]
        if lacking:
            told = f"{name}: {len(lacking)} of {len(pets)} images are missing: {some_of(lacking)}"
            yield "broken", told, f"labkit data check --data {name}"
        else:
            yield "ok", f"{name}: {len(pets)} pets of {len(pets.breeds)} breeds in {shown_path(folder)}", ""
    dataset = home() / "dataset"
    for pattern in (".*-fetching", ".*-unpacking-*", "*/.importing-*", "cache/.building-*"):
        for left in sorted(dataset.glob(pattern)):
            if _age(left) < 120:
                yield "ok", f"{shown_path(left)} is being written", ""
            elif pattern == ".*-fetching":
                yield "note", f"{shown_path(left)}: a fetch that was broken off", "labkit data get --data pets"
            else:
                where = shown_path(left)
                yield "note", f"{where}: left half-done by something that was killed", f"rm -r {shlex.quote(where)}"


def arrays() -> Found:
    """The decoded images on disk, by size."""
    sizes: dict[int, list[int]] = {}
    for path in (home() / "dataset" / "cache").glob("*-[0-9]*.npy"):
        if found := re.fullmatch(r"[0-9a-f]{16}-(\d+)(-trimaps)?\.npy", path.name):
            sizes.setdefault(int(found[1]), []).append(path.stat().st_size)
    told = ", ".join(f"{size} px {sum(bytes_) / 2**20:,.0f} MiB" for size, bytes_ in sorted(sizes.items()))
    yield "ok", f"decoded images: {told or 'none yet; they are made on first use'}", ""


def runs() -> Found:
    """Committed networks and run folders; what is unfinished is named, with the way to go on."""
    weights = sorted(path.stem for path in (home() / "weights").glob("*.safetensors"))
    yield ("ok" if weights else "note"), f"weights: {', '.join(weights) or 'none'}", ""
    folders = [p.parent for depth in ("*", "*/*") for p in sorted((home() / "runs").glob(f"{depth}/recipe.toml"))]
    begun = []
    for folder in folders:
        try:
            recipe = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
            wanted, print_ = recipe["training"]["epochs"], recipe["data"].get("fingerprint")
        except (ValueError, KeyError, OSError) as error:
            yield "note", f"{shown_path(folder)}: its recipe.toml is damaged ({error})", ""
            continue
        history = folder / "history.csv"
        done = max(0, len(history.read_text().splitlines()) - 1) if history.is_file() else 0
        if done < wanted:
            begun.append((folder, done, wanted, print_))
    yield "ok", f"{shown_path(home() / 'runs')}: {len(folders) - len(begun)} finished runs, {len(begun)} unfinished", ""
    for folder, done, wanted, print_ in begun:
        told = f"{shown_path(folder)}: {done} of {wanted} epochs"
        if _is_locked(folder):
            yield "ok", f"{told}, in training now", ""
        else:
            where = shlex.quote(shown_path(folder))
            yield "note", told, f"labkit train {where}/recipe.toml --run {where} --data {_data_of(print_)} --resume"


def _age(folder: Path) -> float:
    """Seconds since something was written there, two levels deep."""
    times = [path.stat().st_mtime for path in (folder, *folder.glob("*"), *folder.glob("*/*")) if path.is_dir()]
    return time.time() - max(times)


def _is_locked(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock").acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False  # what cannot be opened nobody has locked


def _data_of(fingerprint: str | None) -> str:
    from labkit.data.pets import open_pets

    for name in ("sample", "pets"):
        if (home() / "dataset" / name / "oxford-iiit-pet").is_dir() and open_pets(name).fingerprint == fingerprint:
            return name
    return "FOLDER"
