"""The one kind of error that a user of the lab can cause and mend."""


class LabError(ValueError):
    """Bad input: one sentence that says what was found, where, and what to do."""
