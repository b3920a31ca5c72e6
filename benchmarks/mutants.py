"""Do the checks refuse what is nearly right? `python -m benchmarks.mutants`, rows in records/mutants.csv.

Each solution in the notebooks is changed in one place at a time (an operator, a number, a call or a statement left out,
arguments exchanged), and its check judges what comes out. A change that passes is printed: it is either as right as the
solution, such as `x.shape[2:]` for `x.shape[-2:]`, or a gap in the check. The two are told apart by reading.
"""

import argparse
import ast
import contextlib
import copy
import difflib
import io
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.timing import machine
from course.checks.verdict import WrongAnswer
from course.handout import exercises
from labkit.files import checkout, write_text

SECONDS = 30
"""That a check may take."""
OPERATORS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div},
    **{ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Mod: ast.FloorDiv},
}
PAIRS = (
    *("max min", "amax amin", "mean sum", "maximum minimum", "argmax argmin", "ceil floor", "round int", "std var"),
    *("sin cos", "train eval", "bilinear nearest", "replicate constant", "sigmoid tanh", "softplus relu"),
)
NAMES = dict(pair for line in PAIRS for a, b in [line.split()] for pair in ((a, b), (b, a)))


def mutants(source: str) -> list[str]:
    """The source with one change each; annotations, defaults, docstrings and placeholders stay as they are."""
    tree = _Plain().visit(ast.parse(source))
    plain, found = ast.unparse(tree), {}
    for index, node in enumerate(ast.walk(tree)):
        for number in range(len(list(_changes(node)))):
            other = copy.deepcopy(tree)
            changed = next(part for i, part in enumerate(ast.walk(other)) if i == index)
            new = list(_changes(changed))[number]()
            other = _Exchanged(changed, new).visit(other) if isinstance(new, ast.AST) else other
            with contextlib.suppress(ValueError, SyntaxError):  # a change that is no Python
                text = ast.unparse(ast.fix_missing_locations(other))
                compile(text, "mutant", "exec")
                found[text] = None
    return [text for text in found if text != plain]


class _Plain(ast.NodeTransformer):
    """Without what no check can or should tell apart."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
        node.body = node.body[ast.get_docstring(node) is not None :]
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if "..." in ast.unparse(node.value) else self.generic_visit(node)


class _Exchanged(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST):
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _changes(node: ast.AST) -> Iterator[Callable[[], ast.AST | None]]:
    """Each gives the node that takes the place of this one, or changes this one and gives None."""
    match node:
        case ast.Compare(ops=[kind]) if type(kind) in OPERATORS:
            yield lambda: setattr(node, "ops", [OPERATORS[type(kind)]()])
        case ast.BinOp(left, kind, right):
            if type(kind) in OPERATORS:
                yield lambda: setattr(node, "op", OPERATORS[type(kind)]())
            yield from (lambda: left, lambda: right)
        case ast.BoolOp(kind, [first, *_]):
            yield lambda: setattr(node, "op", OPERATORS[type(kind)]())
            yield lambda: first
        case ast.AugAssign(op=kind) if type(kind) in OPERATORS:
            yield lambda: setattr(node, "op", OPERATORS[type(kind)]())
        case ast.UnaryOp(operand=operand):
            yield lambda: operand
        case ast.IfExp(body=body, orelse=orelse):
            yield from (lambda: body, lambda: orelse)
        case ast.Constant(bool() as value):
            yield lambda: ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield from (lambda: ast.Constant(value + 1), lambda: ast.Constant(value - 1))
        case ast.Constant(str() as value) if value in NAMES:
            yield lambda: ast.Constant(NAMES[value])
        case ast.Name(value, ast.Load()) if value in NAMES:
            yield lambda: ast.Name(NAMES[value], ast.Load())
        case ast.Attribute(attr=value) if value in NAMES:
            yield lambda: setattr(node, "attr", NAMES[value])
        case ast.Tuple([first, second, *rest], ast.Load()) | ast.List([first, second, *rest], ast.Load()):
            yield lambda: setattr(node, "elts", [second, first, *rest])
        case ast.If():
            yield lambda: setattr(node, "test", ast.Constant(value=True))
            yield lambda: setattr(node, "test", ast.Constant(value=False))
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            yield lambda: node.func.value
        if node.args:
            yield lambda: node.args[0]
        if len(node.args) > 1:
            yield lambda: setattr(node, "args", [node.args[1], node.args[0], *node.args[2:]])
        for number in range(len(node.keywords)):
            yield lambda number=number: node.keywords.pop(number) and None
    if isinstance(node, ast.FunctionDef | ast.For | ast.While | ast.With | ast.If):
        for number, statement in enumerate(node.body):
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
                yield lambda number=number: node.body.__setitem__(number, ast.Pass())


def verdict(names: dict, answer: str, check: str) -> str:
    """`passed`, the check's sentence, or `failed: ...` where another error was raised."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            space = dict(names)
            exec(compile(answer, "answer", "exec"), space)
            exec(check, space)
        return "passed"
    except WrongAnswer as wrong:
        return str(wrong)
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        torch.set_grad_enabled(True)


def chapter(path: Path) -> Iterator[dict]:
    """A row for each exercise of a notebook; changes that pass are printed."""
    notebook = nbformat.read(path, as_version=4)
    tasks, names = exercises(notebook, path.stem), {"Tensor": Tensor, "nn": nn}
    answers = {task.answer for task in tasks}
    for index, cell in enumerate(notebook.cells):
        task = next((task for task in tasks if task.cell == index), None)
        if task is not None:
            answer = notebook.cells[task.answer].source
            assert verdict(names, answer, cell.source) == "passed", (path.stem, task.check)
            sentences = {text: verdict(names, text, cell.source) for text in mutants(answer)}
            passing = [text for text, sentence in sentences.items() if sentence == "passed"]
            broken = [text for text, sentence in sentences.items() if sentence.startswith("failed: ")]
            row = {"chapter": path.stem, "check": task.check, "changes": len(sentences), "passed": len(passing)}
            yield row | {"other_errors": len(broken)}
            before = ast.unparse(_Plain().visit(ast.parse(answer))).splitlines()
            for text in [*passing, *broken]:
                lines = difflib.unified_diff(before, text.splitlines(), n=0, lineterm="")
                print("  ", " -> ".join(line.strip("+- ") for line in list(lines)[3:]), "|", sentences[text][:120])
            exec(compile(answer, "answer", "exec"), names)
        elif cell.cell_type == "code" and index not in answers and not cell.source.startswith("checks."):
            _define(cell.source, names, everything=index < 4)


def _define(source: str, names: dict, everything: bool) -> None:
    """Run a cell's definitions and imports, and all of the cells at the top, so that answers find what they use."""
    kinds = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    body = [part for part in ast.parse(source).body if everything or isinstance(part, kinds)]
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chapters", nargs="*", default=[], help="such as 01 07; all where left out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of what a change has made of a line
    rows = []
    for path in sorted((checkout() / "notebooks").glob("[0-9]*.ipynb")):
        if not arguments.chapters or path.name[:2] in arguments.chapters:
            for row in chapter(path):
                print(*row.values(), flush=True)
                rows.append(row | machine(torch.device("cpu")))
    if not arguments.chapters:
        write_text(checkout() / "records" / "mutants.csv", pd.DataFrame(rows).to_csv(index=False), replace=True)


if __name__ == "__main__":
    main()
