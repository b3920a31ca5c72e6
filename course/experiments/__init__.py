"""Many trainings from one file, as jobs on Dask workers, and the claims of the reports put to the test by them."""
