"""Makes mutants: copies of a module with one small mistake each.

Mistakes are made where a program decides and acts: conditions, comparisons, arithmetic, constants, statements with an effect,
returned values. Words are left alone: docstrings, annotations, log lines, the texts of errors.
"""

import ast
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from typing import Any

from attrs import frozen

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.BitOr: ast.BitAnd,
}
CALLED = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "nsmallest": "nlargest",
    "popleft": "pop",
}
WORDS = {"annotation", "returns", "decorator_list", "bases", "exc", "cause", "pattern"}
"""Fields of nodes that hold words or types."""

Undo = Callable[[], object]


@frozen
class Mutant:
    """One mistake: in which function it is, on which line its statement begins, and what the code says before and after."""

    module: str
    number: int
    line: int
    function: str
    before: str
    after: str

    @property
    def key(self) -> str:
        """Its name, which outlives changes elsewhere in the module."""
        return f"{self.module} {self.function}: {self.before}  ->  {self.after}"


@frozen
class _Site:
    """A place for a mistake in one tree, the statement that it is in, and how to make it there."""

    statement: ast.stmt
    function: str
    make: Callable[[], Undo]
    instead: ast.stmt | None = None
    """What stands there in its place, if the statement itself is gone."""


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its text; no two read alike in one line."""
    found: dict[tuple[int, str, str], Mutant] = {}
    for number, site in enumerate(list(_sites(ast.parse(source)))):
        old = _said(site.statement)
        unmake = site.make()
        new = _said(site.instead or site.statement)
        unmake()
        before, after = next(((a, b) for a, b in zip_longest(old, new, fillvalue="") if a != b), ("", ""))
        if before != after:
            line = site.statement.lineno
            found.setdefault((line, before, after), Mutant(module, number, line, site.function, before, after))
    return list(found.values())


def mutated(source: str, number: int) -> ast.Module:
    """Return a module's tree with one mistake in it; line numbers stay."""
    tree = ast.parse(source)
    list(_sites(tree))[number].make()
    return ast.fix_missing_locations(tree)


def probed(source: str, name: str) -> ast.Module:
    """Return a module's tree in which each statement first calls `name` with its line."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                setattr(node, field, [each for statement in block for each in (*_probe(statement, name), statement)])
    return ast.fix_missing_locations(tree)


def _probe(statement: ast.stmt, name: str) -> list[ast.stmt]:
    if _is_words(statement) or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
        return []
    call = ast.Call(ast.Name(name, ast.Load()), [ast.Constant(statement.lineno)], [])
    return [ast.copy_location(ast.Expr(call), statement)]


def _said(statement: ast.stmt) -> list[str]:
    return [line.strip() for line in ast.unparse(statement).splitlines()]


def _sites(tree: ast.Module) -> Iterator[_Site]:
    for index, statement in enumerate(tree.body):
        yield from _in_statement(statement, tree.body, index, ())


def _in_statement(statement: ast.stmt, block: list[ast.stmt], index: int, names: tuple[str, ...]) -> Iterator[_Site]:
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass | ast.Assert) or _is_words(statement):
        return
    function = ".".join(names) or "the module"
    if _acts(statement) and names:
        yield _Site(statement, function, partial(_put, block, index, ast.Pass()), ast.Pass())
    if isinstance(statement, ast.Continue | ast.Break):
        other = ast.Break() if isinstance(statement, ast.Continue) else ast.Continue()
        yield _Site(statement, function, partial(_put, block, index, other), other)
    if isinstance(statement, ast.Return) and statement.value is not None and not _is_none(statement.value):
        yield _Site(statement, function, partial(_put, statement, "value", ast.Constant(None)))
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        names = (*names, statement.name)
    yield from _within(statement, statement, names)


def _within(node: ast.AST, statement: ast.stmt, names: tuple[str, ...]) -> Iterator[_Site]:
    """Yield the sites of a node and of all that is in it, statements of inner blocks included."""
    function = ".".join(names) or "the module"
    for make in _of_node(node):
        yield _Site(statement, function, make)
    for field, value in ast.iter_fields(node):
        if field in WORDS:
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.stmt):
                yield from _in_statement(child, value, index, names)
            elif isinstance(child, ast.AST):
                holder, place = (value, index) if isinstance(value, list) else (node, field)
                for new in _instead(child):
                    yield _Site(statement, function, partial(_put, holder, place, new))
                if not isinstance(child, ast.JoinedStr):
                    yield from _within(child, statement, names)


def _put(holder: Any, place: Any, new: Any) -> Undo:
    """Put something into a list or an attribute; return what undoes it."""
    if isinstance(holder, list):
        old = holder[place]
        holder[place] = ast.copy_location(new, old) if hasattr(old, "lineno") else new
        return partial(holder.__setitem__, place, old)
    old = getattr(holder, place)
    setattr(holder, place, new)
    return partial(setattr, holder, place, old)


def _of_node(node: ast.AST) -> Iterator[Callable[[], Undo]]:
    """Yield the mistakes that change a node itself."""
    for holder, place in _conditions(node):
        for always in (True, False):
            if not (isinstance(node, ast.While) and always):  # a loop without an end proves little and takes long
                yield partial(_put, holder, place, ast.Constant(always))
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for wrong in COMPARED[type(operator)]:
                yield partial(_put, node.ops, place, wrong())
    if isinstance(node, ast.BoolOp):
        yield partial(_put, node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for place in range(len(node.values)):
            yield partial(_put, node.values, place, ast.Constant(isinstance(node.op, ast.And)))
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COUNTED:
        yield partial(_put, node, "op", COUNTED[type(node.op)]())
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Name) and function.id in CALLED:
            yield partial(_put, function, "id", CALLED[function.id])
        if isinstance(function, ast.Attribute) and function.attr in CALLED:
            yield partial(_put, function, "attr", CALLED[function.attr])


def _conditions(node: ast.AST) -> Iterator[tuple[Any, Any]]:
    """Yield where conditions stand in a node: what holds them, and under which name or index."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Constant):
                yield node, "test"
        case ast.match_case(guard=ast.expr()):
            yield node, "guard"
        case ast.comprehension(ifs=ifs):
            for place in range(len(ifs)):
                yield ifs, place


def _instead(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what may stand wrongly in the place of an expression."""
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant(f"{value}!")
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case _:
            return


def _acts(statement: ast.stmt) -> bool:
    """Whether a statement can be left out and the rest still be a program: one that has an effect elsewhere."""
    match statement:
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise():
            return True
        case ast.Assign(targets=targets):
            return all(isinstance(each, ast.Attribute | ast.Subscript) for target in targets for each in _parts(target))
        case _:
            return False


def _parts(target: ast.expr) -> list[ast.expr]:
    return list(target.elts) if isinstance(target, ast.Tuple) else [target]


def _is_words(statement: ast.stmt) -> bool:
    """Whether a statement says something to people only."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="logger")))):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__" | "logger")]) | ast.AnnAssign(target=ast.Name(id="logger")):
            return True
        case _:
            return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
