"""The program that drew the sample: cats and dogs in the layout of the Oxford-IIIT Pet data set, and microscope slides.

`python -m dataset.drawing --help`. The same seed gives the same pixels on every machine. Beside the pets, slides in
groups (`draw_slides`) are for several classes and for splits that leak.
"""

from dataset.drawing.breeds import BREEDS
from dataset.drawing.files import draw_sample, draw_slides
from dataset.drawing.pet import Drawing, draw_pet
from dataset.drawing.slides import CLASSES, draw_tile, prepare_slide

__all__ = ["BREEDS", "CLASSES", "Drawing", "draw_pet", "draw_sample", "draw_slides", "draw_tile", "prepare_slide"]
