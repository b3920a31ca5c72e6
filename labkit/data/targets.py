"""What a trimap asks the network for: six targets made from the same three values, and class masks as they are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.data.pets import Pets
from labkit.errors import LabError
from labkit.metrics import IGNORED


@dataclass(frozen=True)
class Target:
    """A way to turn a trimap into class indices."""

    name: str
    classes: tuple[str, ...]  # names of the class indices 0, 1, ...; empty where the data decide (breeds, class masks)
    meaning: str


TARGETS = {
    target.name: target
    for target in (
        Target("foreground", ("background", "pet"), "trimap 1 and 3 are the pet (the lab of 2024 and 2025)"),
        Target("foreground_strict", ("background", "pet"), "trimap 1 alone is the pet (the lab of 2026)"),
        Target("border_ignored", ("background", "pet"), "trimap 1 is the pet, 3 counts for nothing"),
        Target("trimap", ("background", "pet", "border"), "the trimap's three values as three classes"),
        Target("species", ("background", "cat", "dog"), "trimap 1 and 3 as cat or dog"),
        Target("breed", (), "trimap 1 and 3 as one of the breeds"),
        Target("mask", (), "class indices as they are, in data with annotations/classes.txt instead of trimaps"),
    )
}


def class_names(target: str, pets: Pets) -> tuple[str, ...]:
    """Names of a target's classes; LabError when there is no such target or the data have not what it is made from."""
    if target not in TARGETS:
        raise LabError(f"no target {target!r}; choose one of {', '.join(TARGETS)}")
    if (target == "mask") != bool(pets.classes):
        held = "masks of class indices" if pets.classes else "trimaps (no annotations/classes.txt)"
        fits = "'mask'" if pets.classes else ", ".join(name for name in TARGETS if name != "mask")
        raise LabError(f"{pets.folder}: holds {held}, which target {target!r} is not made from; use {fits}")
    if target == "mask":
        return pets.classes
    if target == "breed":
        return ("background", *(pets.breeds.get(i, f"(no breed {i})") for i in range(1, max(pets.breeds) + 1)))
    return TARGETS[target].classes


def has_foreground(masks: Tensor) -> Tensor:
    """Which masks `int64 [B, H, W]` hold a class besides background and ignored pixels, `bool [B]`."""
    return ((masks != 0) & (masks != IGNORED)).flatten(1).any(dim=1)


def mask_from_trimap(
    trimap: Tensor, target: str, species: Tensor | None = None, class_id: Tensor | None = None
) -> Tensor:
    """Class indices `int64 [B, H, W]`, 255 = ignored, of a batch of raw trimaps.

    Args:
        trimap: integers `[B, H, W]`: 1 = pet, 2 = background, 3 = border; 0 (outside the image) is background.
            For the target `mask`, class indices.
        target: a key of `TARGETS`.
        species: `int64 [B]`, 1 = cat, 2 = dog; for the target `species`.
        class_id: `int64 [B]`, the breed from 1; for the target `breed`.
    """
    pet, border = trimap == 1, trimap == 3
    match target:
        case "mask":
            return trimap.long()
        case "foreground":
            return (pet | border).long()
        case "foreground_strict":
            return pet.long()
        case "border_ignored":
            return pet.long().masked_fill(border, IGNORED)
        case "trimap":
            return pet.long() + 2 * border.long()
        case "species" | "breed":
            labels = species if target == "species" else class_id
            return (pet | border).long() * torch.as_tensor(labels, device=trimap.device)[:, None, None]
    raise LabError(f"no target {target!r}; choose one of {', '.join(TARGETS)}")
