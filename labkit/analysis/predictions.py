"""From a run to logits and masks, for images of a data set or files of the user's own."""

import glob
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from labkit import data
from labkit.data import BatchTransform, Pets, load_arrays, read_image, resize_image
from labkit.errors import LabError
from labkit.files import check_targets, written_whole
from labkit.metrics import dice_score, overlap_counts, per_image, predicted_mask, resize_logits
from labkit.painting import CLASS_COLORS, agreement, class_overlay, montage
from labkit.training import Recipe, Run, autocast, choose_device, choose_precision

Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Predictor:
    """A run's network, ready to take images."""

    recipe: Recipe
    model: nn.Module
    device: torch.device
    precision: str

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits `float32 [B, C, S, S]` of normalized images `[B, 3, S, S]` on the network's device."""
        with autocast(self.device, self.precision):
            return self.model(images.contiguous(memory_format=torch.channels_last)).float()

    def class_names(self, pets: Pets) -> tuple[str, ...]:
        """Names of the classes, background first; LabError where the data have other classes than the network."""
        names, channels = data.class_names(self.recipe.data.target, pets), self.recipe.model.classes
        if max(channels, 2) != len(names):
            raise LabError(
                f"the network tells {channels} classes apart, the target {self.recipe.data.target!r} has {len(names)} "
                f"in {pets.label}; give it data with the classes that it was trained on"
            )
        return names

    def batch_transform(self, pets: Pets) -> BatchTransform:
        """The run's own normalization and target for a data set."""
        return BatchTransform(pets, self.recipe.data.target, self.recipe.data.mean, self.recipe.data.std, self.device)

    def truth(self, pets: Pets, index: int) -> Tensor:
        """The true mask of one image, `int64 [1, H, W]` at its own size, as the run's target has it."""
        trimap, pet = torch.from_numpy(pets.trimap(index))[None], pets.items[index]
        species, class_id = torch.tensor([pet.species]), torch.tensor([pet.class_id])
        return data.mask_from_trimap(trimap, self.recipe.data.target, species, class_id)

    def image_logits(self, image: np.ndarray) -> Tensor:
        """Logits `float32 [C, H, W]` of one image `uint8 [H, W, 3]`, upsampled to its own size."""
        size = self.recipe.data.image_size
        pixels = torch.from_numpy(resize_image(image, (size, size)).copy()).to(self.device)
        mean, std = torch.tensor([self.recipe.data.mean, self.recipe.data.std], device=self.device)[..., None, None]
        images = ((pixels.permute(2, 0, 1).float() / 255 - mean) / std)[None]
        return resize_logits(self.logits(images), image.shape[:2])[0]


def load_predictor(run: Run, device: str = "auto", precision: str = "auto") -> Predictor:
    """Open a run's network on a device; in bfloat16 where the hardware has it, whatever it was trained in."""
    chosen = choose_device(device)
    model = run.model(chosen).to(memory_format=torch.channels_last)
    return Predictor(run.recipe, model, chosen, choose_precision(precision, chosen))


def predict_batches(
    predictor: Predictor, pets: Pets, indices: np.ndarray, batch_size: int = 32, progress: Progress = iter
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits `[B, C, S, S]`, masks `[B, S, S]` and indices `[B]`, batch by batch, at the recipe's size."""
    arrays = load_arrays(pets, predictor.recipe.data.image_size)
    prepare = predictor.batch_transform(pets)
    for batch in progress(data.batch_loader(arrays, data.batch_indices(indices, batch_size))):
        images, masks = prepare(batch)
        yield predictor.logits(images), masks, batch.indices


def image_files(named: Iterable[str | Path]) -> list[Path]:
    """The files of that name, those that match a pattern, and the images in a folder; LabError where there are none."""
    files: list[Path] = []
    for path in map(Path, named):
        if path.is_dir():
            found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in Image.registered_extensions()]
        elif path.exists():
            found = [path]
        else:  # a pattern that no shell has expanded
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not found:
            raise LabError(f"{path}: no image there; name images, a folder of them, or a pattern such as 'pets/*.jpg'")
        files += found
    return files


def predict_files(
    predictor: Predictor,
    images: Iterable[str | Path],
    out: Path | None = None,
    threshold: float = 0.5,
    progress: Progress = iter,
    failed: list[str] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and mask `uint8 [H, W]` of each image file, at the image's own size; 1 is the pet.

    `<out>/<name>.png` is written, if there is an `out`: 0 and 255; of networks of several classes class indices, as a
    palette image in `painting.CLASS_COLORS`. The logits are upsampled before the threshold. An image is turned as its
    EXIF tag says. Folders and patterns may be named, too. Where a list `failed` is given, a file that is no image adds
    its sentence there, and the others go on; `progress` wraps the files, such as `tqdm`.

    Raises:
        LabError: a file is missing or no image; a mask would replace an image, another mask, or a file of the user's.
    """
    files = image_files(images)
    check_targets([Path(out) / f"{path.stem}.png" for path in files] if out else (), files)
    if twice := [name for name, times in Counter(path.stem for path in files).items() if times > 1]:
        raise LabError(f"two images are called {twice[0]!r}, so that their masks could not be told apart; rename one")
    for path in progress(files):
        try:
            image = read_image(path)
        except LabError as error:
            if failed is None:
                raise
            failed.append(str(error))
            continue
        yield path.stem, _predicted(predictor, image, threshold, Path(out) / f"{path.stem}.png" if out else None)


def _predicted(predictor: Predictor, image: np.ndarray, threshold: float, path: Path | None) -> np.ndarray:
    """The mask `uint8 [H, W]` of an image; a file of it: 0 and 255, or of several classes indices with a palette."""
    mask = predicted_mask(predictor.image_logits(image)[None], threshold)[0].byte().cpu().numpy()
    if path:
        several = predictor.recipe.model.classes > 2
        written = Image.fromarray(mask if several else mask * 255)
        if several:
            written.putpalette(CLASS_COLORS.tobytes())  # turns mode L into P; the values stay
        with written_whole(path) as file:
            written.save(file, format="PNG")
    return mask


def predict_split(
    predictor: Predictor,
    pets: Pets,
    split: str,
    masks: Path | None = None,
    pictures: Path | None = None,
    threshold: float = 0.5,
    right_and_wrong: bool = False,
    progress: Progress = iter,
) -> Iterator[tuple[str, np.ndarray]]:
    """Write `<masks>/<name>.png` and `<pictures>/<name>.png` for each image of a split; yields names and masks.

    A mask is as of `predict_files`. A picture shows image, prediction and truth side by side at the image's own size,
    with the Dice at that size in its title; `right_and_wrong` paints the prediction with `painting.agreement`. A split
    is a part of the recipe's (`test`), or `<family>/<part>` of another; `progress` wraps the images, such as `tqdm`.

    Raises:
        LabError: at once: there is no such split, the data have other classes, a file of the user's would be replaced.
    """
    family, _, part = split.rpartition("/")
    indices, classes = pets.split(part, family or predictor.recipe.data.split), len(predictor.class_names(pets))
    names = [pets.items[index].name for index in indices]
    targets = [folder / f"{name}.png" for folder in (masks, pictures) if folder for name in names]
    check_targets(targets, map(pets.trimap_path, indices))

    def written() -> Iterator[tuple[str, np.ndarray]]:
        for index, name in zip(progress(indices), names, strict=True):
            image = pets.image(index)
            mask = _predicted(predictor, image, threshold, masks / f"{name}.png" if masks else None)
            if pictures:
                truth = predictor.truth(pets, index)
                counts = overlap_counts(torch.from_numpy(mask)[None], truth, classes)
                title = f"{name}: Dice {per_image(dice_score, counts).item():.4f}"
                sheet = comparison(image, mask, truth[0].numpy(), title, right_and_wrong)
                with written_whole(pictures / f"{name}.png") as file:
                    sheet.save(file, format="PNG")
            yield name, mask

    return written()


def comparison(
    image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, title: str, right_and_wrong: bool = False
) -> Image.Image:
    """Image, prediction and truth side by side, each with a heading, all with a title; arguments as `agreement`."""
    painted = agreement(image, prediction, truth) if right_and_wrong else class_overlay(image, prediction)
    panels = Image.fromarray(montage([[image, painted, class_overlay(image, truth)]]))
    large, small, step = ImageFont.load_default(16), ImageFont.load_default(13), image.shape[1] + 4
    width = max(panels.width, round(large.getlength(title)) + 8)
    sheet = Image.new("RGB", (width, panels.height + 44), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 2), title, "black", large)
    for column, text in enumerate(("image", "prediction", "truth")):
        draw.text((4 + column * step, 24), text, "black", small)
    sheet.paste(panels, (0, 44))
    return sheet
