"""The one kind of error that a user of the lab can cause and mend."""


class LabError(ValueError):
    """Bad input: one sentence that says what was found, where, and what to do."""


class Interrupted(KeyboardInterrupt):
    """The user stopped a training; the message says what is kept and how to go on."""
