"""Room 01: pets on disk -> index -> (image, mask) -> batches."""

from labkit.data.arrays import Arrays, load_arrays, resize_image, resize_trimap
from labkit.data.augment import (
    Augment,
    augment_batch,
    color,
    elastic_displacement,
    sample_images,
    sample_trimaps,
    sampling_grid,
    spatial_matrices,
)
from labkit.data.checking import Report, check_pets
from labkit.data.dataset import PetDataset
from labkit.data.groups import split_by_group, split_inside_groups
from labkit.data.images import read_image, read_trimap
from labkit.data.importing import get_pets
from labkit.data.lists import SPECIES
from labkit.data.loaders import Batch, BatchTransform, RedrawCount, batch_indices, batch_loader
from labkit.data.pets import Pet, Pets, data_root, open_pets
from labkit.data.statistics import ColorStatistics, color_statistics, describe_pets, pet_table, trimap_shares
from labkit.data.targets import IGNORED, TARGETS, class_names, has_foreground, mask_from_trimap

__all__ = [
    "IGNORED",
    "SPECIES",
    "TARGETS",
    "Arrays",
    "Augment",
    "Batch",
    "BatchTransform",
    "ColorStatistics",
    "Pet",
    "PetDataset",
    "Pets",
    "RedrawCount",
    "Report",
    "augment_batch",
    "batch_indices",
    "batch_loader",
    "check_pets",
    "class_names",
    "color",
    "color_statistics",
    "data_root",
    "describe_pets",
    "elastic_displacement",
    "get_pets",
    "has_foreground",
    "load_arrays",
    "mask_from_trimap",
    "open_pets",
    "pet_table",
    "read_image",
    "read_trimap",
    "resize_image",
    "resize_trimap",
    "sample_images",
    "sample_trimaps",
    "sampling_grid",
    "spatial_matrices",
    "split_by_group",
    "split_inside_groups",
    "trimap_shares",
]
