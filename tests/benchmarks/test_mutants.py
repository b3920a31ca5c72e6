"""Changed solutions: one change each, and each judged for what it is."""

from benchmarks.mutants import mutants, verdict

SOURCE = '''def share(pixels: int = 1, *, of: int) -> float:
    """A share."""
    if pixels > 0:
        pixels = max(pixels, 2, key=abs)
    return pixels / of
'''
CHECK = "from course.checks.verdict import expect\nexpect(share(5, of=8) == 5 / 8, 'another share')"


def test_every_change_is_one_place_and_what_no_check_can_see_stays():
    found = mutants(SOURCE)
    changes = (
        "pixels >= 0",
        "if True:",
        "if False:",
        "min(pixels, 2, key=abs)",
        "max(2, pixels, key=abs)",
        "max(pixels, 2)",
    )
    changes += ("max(pixels, 3, key=abs)", "pixels * of", "return of", "        pass", "pixels > 1")
    for change in changes:
        assert sum(change in text for text in found) == 1, change
    assert len(set(found)) == len(found)
    assert not any("A share" in text for text in found)


def test_a_placeholder_is_not_changed():
    assert mutants("answer = ...") == []


def test_verdicts():
    assert verdict({}, SOURCE, CHECK) == "passed"
    assert verdict({}, SOURCE.replace("/", "*"), CHECK) == "another share"
    assert verdict({}, SOURCE.replace("/ of", "/ 0"), CHECK) == "failed: ZeroDivisionError: division by zero"
