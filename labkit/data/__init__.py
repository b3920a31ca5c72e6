"""Pets on disk -> index -> (image, mask) -> batches."""

from labkit.data.arrays import Arrays, load_arrays, resize_image, resize_trimap
from labkit.data.augment import Augment, augment_batch, sample_images, sample_trimaps, sampling_grid, spatial_matrices
from labkit.data.dataset import PetDataset
from labkit.data.images import read_image, read_trimap
from labkit.data.importing import get_pets
from labkit.data.inspection import check_pets, color_statistics, pet_table, trimap_shares
from labkit.data.lists import SPECIES, split_by_group, split_inside_groups
from labkit.data.loaders import Batch, BatchTransform, batch_indices, batch_loader, with_copies
from labkit.data.pets import Pets, data_root, open_pets
from labkit.data.targets import IGNORED, TARGETS, class_names, has_foreground, mask_from_trimap
