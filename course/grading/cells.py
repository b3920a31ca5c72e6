"""Which cells of a student's notebook an exercise needs, and what they give; runs inside the sandbox."""

import ast
import symtable
from collections.abc import Callable, Iterator, Sequence
from typing import Any

MOST_CALLS = 4
"""So often at most is one check tried in one notebook, from the last call on."""


class NotFound(LookupError):
    """The notebook has no answer to the exercise."""


def answers(sources: Sequence[str], check: str, argument: str) -> Iterator[Callable[[], Any]]:
    """Ways to the student's objects for a check: one for each call of it, the last first, else one to `argument`.

    Only cells run that define a name which the call needs, and, in turn, those that such cells need: the cells before
    the call, or any where no cell before it defines the name. They run in the notebook's order. One that fails is
    passed over, as in a notebook.

    Raises:
        NotFound: no call, and `argument` is not defined.
        NameError: the cells were run, and the name is still missing; the last cell's error is its cause.
    """
    trees = [_parsed(source) for source in sources]
    calls = [(index, call) for index, tree in enumerate(trees) for call in _calls(tree, check)]
    if not calls:
        wanted = ast.parse(argument, mode="eval").body
        if not _loaded(wanted) <= {name for tree in trees for name in _bound(tree)}:
            raise NotFound(check)
        calls = [(len(trees), wanted)]
    for index, call in calls[::-1][:MOST_CALLS]:
        yield lambda index=index, call=call: _value(trees, index, call)


def _value(trees: list[ast.Module], index: int, wanted: ast.expr) -> Any:
    scope: dict[str, Any] = {"__name__": "__main__"}
    failed = None
    for needed in needed_cells(trees, index, wanted):
        try:
            exec(compile(trees[needed], f"cell {needed}", "exec"), scope)
        except Exception as error:
            failed = error
    try:
        return eval(compile(ast.Expression(wanted), "check", "eval"), scope)
    except NameError as error:
        raise error from failed


def needed_cells(trees: Sequence[ast.Module], index: int, wanted: ast.AST) -> list[int]:
    """Indices of the cells that an expression in cell `index` needs, in the notebook's order."""
    binders: dict[str, list[int]] = {}
    for number, tree in enumerate(trees):
        for name in _bound(tree):
            binders.setdefault(name, []).append(number)
    found: set[int] = set()
    todo = list(_loaded(wanted))
    seen = set(todo)
    while todo:
        there = binders.get(todo.pop(), [])
        for number in [cell for cell in there if cell <= index] or there:
            if number not in found:
                found.add(number)
                new = _loaded(trees[number]) - seen
                seen |= new
                todo += new
    return sorted(found)


def _parsed(source: str) -> ast.Module:
    """A cell without the notebook's own commands and without calls of checks; nothing where it is no Python."""
    lines = [line for line in source.split("\n") if not line.lstrip().startswith(("%", "!", "?"))]
    try:
        return ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _calls(tree: ast.Module, check: str) -> list[ast.expr]:
    """What calls of a check are given, as `checks.name(...)` or `name(...)`; they are taken out of the cell."""
    found = []
    for statement in list(tree.body):
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and call.args and _called(call) == check:
            found.append(call.args[0])
            tree.body.remove(statement)
    return found


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _bound(tree: ast.Module) -> set[str]:
    """Names that a cell defines, also inside `if`, `for`, `with` and `try`; those inside functions do not count."""
    found: set[str] = set()
    todo: list[ast.AST] = [*tree.body]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            todo += node.decorator_list
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        todo += ast.iter_child_nodes(node)
    return found


def _loaded(tree: ast.AST) -> set[str]:
    """Global names that a cell or an expression reads, also inside functions; not those of their own scopes."""
    tree = tree if isinstance(tree, ast.Module) else ast.Module([ast.Expr(tree)], [])
    top = symtable.symtable(ast.unparse(tree), "cell", "exec")
    found, todo = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}, top.get_children()
    while todo:
        scope = todo.pop()
        todo += scope.get_children()
        found |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
    return found
