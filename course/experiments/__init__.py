"""Many trainings from one file, as jobs on Dask workers."""
