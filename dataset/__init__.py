"""The data on disk, and `dataset.drawing`, the program that drew the sample. Neither is installed with labkit."""
