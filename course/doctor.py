"""`course doctor`."""

import json
import textwrap
from collections.abc import Callable
from typing import Annotated

import typer

from course.checkup import Finding, Found, devices, disk, tools, versions
from course.holdings import arrays, data_sets, runs
from labkit.cli.shell import Data

WIDTH, LINES_EACH = 100, 5
MARKS = {"ok": " ", "note": "-", "broken": "!"}


def doctor(
    data: Data = "sample",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What is there, what is missing, what will be slow, on one screen; the last line is what to do next.

    `-` works but should be known, `!` is broken, and then the exit status is 1.

    Examples:

    `course doctor`; `course doctor --data pets --json`
    """
    findings = examine(data)
    if as_json:
        rows = [{"topic": f.topic, "level": f.level, "text": f.text, "do": f.do} for f in findings]
        typer.echo(json.dumps({"findings": rows, "next": next_command(findings, data)}, indent=2))
    else:
        typer.echo(report(findings, data))
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)


def examine(data: str = "sample") -> list[Finding]:
    """All findings, topic by topic; a check that fails is a finding itself."""
    findings = []
    checks: dict[str, Callable[[], Found]] = {
        "versions": versions,
        "devices": devices,
        "disk": disk,
        "data": lambda: data_sets(data),
        "arrays": arrays,
        "runs": runs,
        "tools": tools,
    }
    for topic, check in checks.items():
        try:
            for found in check():
                findings.append(Finding(topic, *found))
        except Exception as error:  # whatever is broken there, the other checks go on
            text = " ".join(f"could not be checked ({type(error).__name__}: {error})".split())
            findings.append(Finding(topic, "broken", text))
    return findings


def next_command(findings: list[Finding], data: str = "sample") -> str:
    """The one thing to do next: mend what is broken, go on with what was begun, else run the lab."""
    for level in ("broken", "note"):
        for finding in findings:
            if finding.level == level and finding.do:
                return finding.do
    return "course lab" + ("" if data == "sample" else f" --data {data}")


def report(findings: list[Finding], data: str) -> str:
    """At most `LINES_EACH` lines of `WIDTH` columns for each topic, then what to do next."""
    lines = []
    for topic in dict.fromkeys(finding.topic for finding in findings):
        mine = sorted((f for f in findings if f.topic == topic), key=lambda f: list(MARKS).index(f.level), reverse=True)
        found = [line for finding in mine for line in _lines(finding)]
        if len(found) > LINES_EACH:
            more = len(found) - LINES_EACH + 1
            found = [*found[: LINES_EACH - 1], f"  ... and {more} more lines: --json has them all"]
        lines += [f"{topic if i == 0 else '':<9}{line}" for i, line in enumerate(found)]
    return "\n".join([*lines, f"next: {next_command(findings, data)}"])


def _lines(finding: Finding) -> list[str]:
    """The finding's text and command, on two lines at most."""
    wrap = textwrap.TextWrapper(WIDTH - 11, max_lines=2, placeholder=" ...", break_on_hyphens=False)
    first, *others = wrap.wrap(f"{finding.text}: {finding.do}" if finding.do else finding.text)
    return [f"{MARKS[finding.level]} {first}", *(f"    {line}" for line in others)]
