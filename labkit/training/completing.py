"""What a recipe leaves open and data and machine decide."""

from labkit.data import Pets, class_names, color_statistics, load_arrays
from labkit.errors import LabError
from labkit.training.hardware import choose_device, choose_precision
from labkit.training.recipe import FIXED_SCALES, Recipe


def resolve(recipe: Recipe, pets: Pets, device: str = "auto") -> Recipe:
    """The recipe with everything filled in that data and machine decide: classes, mean and deviation, precision.

    What was filled in for other data, as the fingerprint tells, is found anew.

    Raises:
        LabError: mean or deviation were written by hand; the target or the lists do not fit the data.
    """
    data, chosen, train = recipe.data, choose_device(device), pets.split("train", recipe.data.split)
    if (data.mean or data.std) and data.fingerprint is None:
        raise LabError("data.mean, data.std: they are found when a training starts, by data.normalize; leave them out")
    if data.normalize != "dataset":
        mean, std = FIXED_SCALES[data.normalize]
    elif data.fingerprint == pets.fingerprint and data.mean and data.std:
        mean, std = data.mean, data.std
    else:
        found = color_statistics(load_arrays(pets, data.image_size), train)
        mean, std = found.mean, found.std
    precision = choose_precision(recipe.training.precision, chosen)
    return recipe.changed(
        data={"mean": mean, "std": std, "fingerprint": pets.fingerprint},
        model={"classes": recipe.resolved_classes(class_names(data.target, pets))},
        training={"precision": precision, "device": str(chosen)},
    )
