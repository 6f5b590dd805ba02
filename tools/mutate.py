# SPDX-License-Identifier: GPL-2.0-or-later
"""Small faults for a Python source, and marks that say which of its statements run. Text in, text out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
NEVER = frozenset(["AssertionError", "NotImplementedError", "assert_never"])
TRACES = frozenset(["trace"])
"""Functions whose calls no test has to notice."""


class Mutant(NamedTuple):
    """One fault: the bytes from `start` to `end` become `new`, which has as many lines."""

    module: str
    line: int
    statement: int
    """Line at which the statement begins that the fault is in."""
    kind: str
    start: int
    end: int
    old: str
    new: str
    text: str
    """The line of the source, without what is around it."""

    def apply(self, source: str) -> str:
        data = source.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.kind}: {_short(old)} -> {_short(new)}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Finder:
    """Walks the statements of one module."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source
        self.data = source.encode()
        self.lines = source.split("\n")
        starts = [0]
        for line in self.data.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        self.starts = starts
        self.found: list[Mutant] = []
        self.statement = 0
        self.negated: set[int] = set()

    # places in the source

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, start: int, end: int) -> str:
        return self.data[start:end].decode()

    def add(self, kind: str, start: int, end: int, new: str) -> None:
        old = self.text(start, end)
        new += "\n" * (old.count("\n") - new.count("\n"))
        line = self.data.count(b"\n", 0, start) + 1
        text = self.lines[line - 1].strip()
        mutant = Mutant(self.module, line, self.statement, kind, start, end, old, new, text)
        try:
            compile(mutant.apply(self.source), self.module, "exec")
        except (SyntaxError, ValueError):
            return
        self.found.append(mutant)

    def replace(self, kind: str, node: ast.expr | ast.stmt, new: str) -> None:
        self.add(kind, self.start(node), self.end(node), new)

    # statements

    def body(self, statements: list[ast.stmt]) -> None:
        for number, statement in enumerate(statements):
            if not (number == 0 and _is_string(statement)):
                self.visit(statement)

    def visit(self, node: ast.stmt) -> None:
        outer, self.statement = self.statement, node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(node, ast.ClassDef):
                for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
                    self.expression(default)
            self.body(node.body)
        elif isinstance(node, ast.If | ast.While):
            if not _is_type_checking(node.test):
                self.negate(node.test)
                self.expression(node.test)
                self.body(node.body)
            self.body(node.orelse)
        elif isinstance(node, ast.For):
            self.expression(node.iter)
            self.body(node.body)
            self.body(node.orelse)
        elif isinstance(node, ast.With):
            for item in node.items:
                self.with_item(item.context_expr)
            self.body(node.body)
        elif isinstance(node, ast.Try):
            self.body(node.body)
            for handler in node.handlers:
                self.handler(handler)
            self.body(node.orelse)
            self.body(node.finalbody)
        elif isinstance(node, ast.Return):
            self.returned(node)
        elif isinstance(node, ast.Expr):
            if not _is_call_of(node.value, TRACES) and not _is_string(node):
                if not isinstance(node.value, ast.Yield | ast.YieldFrom):
                    self.replace("drop", node, "pass")
                self.expression(node.value)
        elif isinstance(node, ast.Raise):
            if not _is_call_of(node.exc, NEVER):
                self.replace("drop", node, "pass")
                if node.exc:
                    self.expression(node.exc)
        elif isinstance(node, ast.Break | ast.Continue | ast.Delete):
            self.replace("drop", node, "pass")
        elif isinstance(node, ast.AugAssign):
            self.replace("drop", node, "pass")
            self.expression(node.value)
        elif isinstance(node, ast.AnnAssign):
            if node.value:
                self.expression(node.value)
        elif isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            if not names & {"__slots__", "__all__", "TYPE_CHECKING"}:
                if not names and not any(isinstance(target, ast.Tuple) for target in node.targets):
                    self.replace("drop", node, "pass")
                self.expression(node.value)
        self.statement = outer

    def handler(self, node: ast.ExceptHandler) -> None:
        first, last = node.body[0], node.body[-1]
        self.statement = first.lineno
        if not (isinstance(first, ast.Raise) and first.exc is None):
            self.add("except", self.start(first), self.end(last), "raise")
        self.body(node.body)

    def with_item(self, node: ast.expr) -> None:
        if isinstance(node, ast.Call) and _is_call_of(node, {"suppress"}) and node.args:
            self.replace("except", node, f"{ast.unparse(node.func)}()")
        else:
            self.expression(node)

    def returned(self, node: ast.Return) -> None:
        value = node.value
        if value is None:
            self.replace("drop", node, "pass")
            return
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            self.replace("return", value, str(not value.value))
        elif isinstance(value, ast.Constant) and value.value is None:
            self.replace("return", value, "True")
        elif isinstance(value, ast.Compare | ast.BoolOp) or _is_not(value):
            self.negate(value, "return")
        else:
            self.replace("return", value, "None")
        self.expression(value)

    # expressions

    def negate(self, node: ast.expr, kind: str = "negate") -> None:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.add(kind, self.start(node), self.start(node.operand), "")
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            # turned around, ==, in and is would say the same
            self.negated.add(id(node))
            self.replace(kind, node, f"not ({self.text(self.start(node), self.end(node))})")
        else:
            self.replace(kind, node, f"(not ({self.text(self.start(node), self.end(node))}))")

    def expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.JoinedStr | ast.Lambda):
            # Python 3.11 does not know where the parts of an f-string are
            if isinstance(node, ast.Lambda):
                self.expression(node.body)
            return
        if _is_call_of(node, TRACES):
            return
        if isinstance(node, ast.Constant):
            if isinstance(node.value, int) and not isinstance(node.value, bool):
                old = self.text(self.start(node), self.end(node))
                self.replace(f"int {old}", node, f"({old} + 1)")
            return
        if isinstance(node, ast.IfExp):
            self.negate(node.test)
        elif isinstance(node, ast.BoolOp):
            for left, right in zip(node.values, node.values[1:], strict=False):
                self.operator(node.op, left, right)
        elif isinstance(node, ast.Compare):
            for left, op, right in zip(
                (node.left, *node.comparators), node.ops, node.comparators, strict=False
            ):
                if id(node) not in self.negated or isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                    self.comparison(op, left, right)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)
            elif isinstance(child, ast.keyword):
                self.expression(child.value)
            elif isinstance(child, ast.comprehension):
                self.expression(child.iter)
                for condition in child.ifs:
                    self.negate(condition)
                    self.expression(condition)

    def operator(self, op: ast.boolop, left: ast.expr, right: ast.expr) -> None:
        old, new = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
        self.between(left, right, rf"\b{old}\b", old, new)

    def comparison(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> None:
        old, new = COMPARISONS[type(op)]
        words = old.replace(" ", r"\s+")
        pattern = rf"\b{words}\b" if old[0].isalpha() else re.escape(old)
        self.between(left, right, pattern, old, new)

    def between(self, left: ast.expr, right: ast.expr, pattern: str, old: str, new: str) -> None:
        start, end = self.end(left), self.start(right)
        # comments may be there, too
        gap = re.sub(r"#[^\n]*", lambda match: " " * len(match[0].encode()), self.text(start, end))
        if (match := re.search(pattern, gap)) is not None:
            self.add(old, start + match.start(), start + match.end(), new)


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _is_type_checking(node: ast.expr) -> bool:
    return ast.unparse(node).removeprefix("typing.") == "TYPE_CHECKING"


def _is_call_of(node: ast.expr | None, names: frozenset[str] | set[str]) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    if isinstance(function, ast.Attribute):
        return isinstance(node, ast.Call) and function.attr in names
    return isinstance(function, ast.Name) and function.id in names


def find(module: str, source: str) -> list[Mutant]:
    """All faults of one module, in order."""
    finder = _Finder(module, source)
    finder.body(ast.parse(source).body)
    unique: dict[str, Mutant] = {}
    for mutant in finder.found:
        unique.setdefault(mutant.apply(source), mutant)
    return sorted(unique.values(), key=lambda mutant: (mutant.start, mutant.end))


class _Marker(ast.NodeTransformer):
    """Puts a mark before each statement."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.numbers = numbers
        self.marks: dict[int, int] = {}
        self.inside: dict[int, bool] = {}
        self.depth = 0

    def mark(self, node: ast.stmt) -> ast.stmt:
        number = next(self.numbers)
        self.marks[number] = node.lineno
        self.inside[number] = self.depth > 0
        return ast.parse(f"_reached_[{number}] = 1").body[0]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        self.depth += function
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list) and statements and isinstance(statements[0], ast.stmt):
                setattr(node, name, self.marked(statements, name == "body"))
        for handler in getattr(node, "handlers", ()):
            self.generic_visit(handler)
        self.depth -= function
        return node

    def marked(self, statements: list[ast.stmt], may_have_docstring: bool) -> list[ast.stmt]:
        new: list[ast.stmt] = []
        for number, statement in enumerate(statements):
            future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
            if not future and not (number == 0 and may_have_docstring and _is_string(statement)):
                new.append(self.mark(statement))
            self.generic_visit(statement)
            new.append(statement)
        return new


class Marked(NamedTuple):
    """A source whose statements note that they run, in `_reached_` of the module `package`._reached."""

    source: str
    lines: dict[int, int]
    """The line of each mark."""
    in_function: set[int]
    """The marks that are not reached by importing the module."""


def mark(source: str, package: str, numbers: Iterator[int]) -> Marked:
    """Puts marks into a source."""
    tree = ast.parse(source)
    marker = _Marker(numbers)
    marker.generic_visit(tree)
    at = next(
        (
            number
            for number, node in enumerate(tree.body)
            if not _is_string(node) and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        ),
        len(tree.body),
    )
    tree.body.insert(at, ast.parse(f"from {package}._reached import MARKS as _reached_").body[0])
    text = ast.unparse(ast.fix_missing_locations(tree))
    return Marked(text, marker.marks, {number for number, inside in marker.inside.items() if inside})
