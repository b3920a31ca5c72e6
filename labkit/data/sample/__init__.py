"""The sample data set: cats and dogs drawn by the lab itself, laid out on disk as the Oxford-IIIT pets.

It needs no network and takes seconds; the same seed gives the same pixels on every machine.
"""

from labkit.data.sample.breeds import BREEDS, Breed
from labkit.data.sample.drawing import Drawing, draw_pet
from labkit.data.sample.folder import draw_sample

__all__ = ["BREEDS", "Breed", "Drawing", "draw_pet", "draw_sample"]
