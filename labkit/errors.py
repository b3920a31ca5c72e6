"""The errors that a user of the lab can cause and correct."""


class LabError(ValueError):
    """Bad input: one sentence that says what was found, where, and what to do."""


class Interrupted(KeyboardInterrupt):
    """The user stopped a training; the message says what is kept and how to go on."""


def some_of(names: list[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
