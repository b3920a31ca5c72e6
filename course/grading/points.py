"""Points: those of the hand-out, changed by a file, and parts of them for answers that are nearly right."""

import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from course.grading.handed_in import Task
from course.grading.marks import FAILED, PASSED, Mark
from labkit.errors import LabError


class Partial(BaseModel):
    """A part of the points for an answer that was judged and is wrong."""

    model_config = ConfigDict(extra="forbid")

    exercise: str = "*"
    """A check's name, or a pattern such as `unet_*`."""
    sentence: str = ""
    """What the judge's sentence holds, such as the name of a mistake; empty: any."""
    share: float = Field(ge=0, le=1)


class Scheme(BaseModel):
    """How points are given: of several rules for parts, the first that fits."""

    model_config = ConfigDict(extra="forbid")

    points: dict[str, float] = {}
    """By exercise; the others keep those of the hand-out."""
    partial: list[Partial] = []

    def scored(self, mark: Mark, handed_out: float) -> Mark:
        """The mark with its points."""
        most = self.points.get(mark.exercise, handed_out)
        return Mark(**vars(mark) | {"score": most * self._share(mark), "max_score": most})

    def _share(self, mark: Mark) -> float:
        if mark.state == PASSED:
            return 1.0
        if mark.state == FAILED and mark.judged:
            for rule in self.partial:
                if fnmatchcase(mark.exercise, rule.exercise) and rule.sentence in mark.sentence:
                    return rule.share
        return 0.0


def read_scheme(path: Path | None, tasks: Sequence[Task]) -> Scheme:
    """The scheme of a TOML file; without one, the points of the hand-out and no parts.

    Raises:
        LabError: the file cannot be read, holds another key, or names an exercise that there is not.
    """
    if path is None:
        return Scheme()
    try:
        scheme = Scheme.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror}); --points names a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{path}: not a TOML file ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LabError(f"{path}: {place}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    names = {task.check for task in tasks}
    if unknown := [name for name in scheme.points if name not in names]:
        raise LabError(f"{path}: points.{unknown[0]}: no such exercise is graded; there are {', '.join(sorted(names))}")
    for rule in scheme.partial:
        if not any(fnmatchcase(name, rule.exercise) for name in names):
            raise LabError(f"{path}: partial.exercise: {rule.exercise!r} fits no exercise that is graded")
    if negative := [name for name, points in scheme.points.items() if not 0 <= points < 1e6]:
        raise LabError(f"{path}: points.{negative[0]}: found {scheme.points[negative[0]]}; points are from 0 on")
    return scheme
