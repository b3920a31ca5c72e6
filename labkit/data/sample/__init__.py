"""The sample data set: cats and dogs drawn by the lab itself, laid out on disk as the Oxford-IIIT pets.

It needs no network and takes seconds; the same seed gives the same pixels on every machine. Beside it, microscope
slides in groups (`draw_slides`), for several classes and for splits that leak.
"""

from labkit.data.sample.breeds import BREEDS, Breed
from labkit.data.sample.drawing import Drawing, draw_pet
from labkit.data.sample.folder import draw_sample
from labkit.data.sample.slides import draw_slides

__all__ = ["BREEDS", "Breed", "Drawing", "draw_pet", "draw_sample", "draw_slides"]
