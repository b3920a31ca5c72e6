"""Many trainings from one file, as jobs on Dask workers, and the claims of the reports put to the test by them."""

from course.experiments.claim_jobs import write_records
from course.experiments.claim_queue import ClaimQueue
from course.experiments.claims import FOLDER, load_claims, load_scale
from course.experiments.verdicts import ClaimRecords, shown_changes, verdict_table
