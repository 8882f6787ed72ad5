"""Activation expressions as text: read without evaluating code, checked, and written in one canonical form.

A model file carries its activation as text, so the text is hostile until proved otherwise. It is parsed into
Python's syntax tree and rebuilt from a short list of functions; nothing is ever evaluated or looked up.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from esntools.errors import InvalidInputError, UnsupportedError, nearest_name

if TYPE_CHECKING:
    import sympy

__all__ = ["FUNCTIONS", "canonical_text", "parse_expression"]

#: The functions that an activation expression may call.
FUNCTIONS: Final = (
    "Abs", "Max", "Min", "Piecewise", "asinh", "atan", "cos", "cosh", "erf", "erfc", "exp", "log", "sech",
    "sin", "sinh", "sqrt", "tanh",
)  # fmt: skip

_ALIASES: Final = {
    "abs": "Abs",
    "arctan": "atan",
    "arcsinh": "asinh",
    "max": "Max",
    "min": "Min",
    "ln": "log",
}
_CONSTANTS: Final = ("pi", "E")
_STEPS: Final = ("sign", "Heaviside", "floor", "ceiling", "frac", "DiracDelta", "Mod")
_COUPLED: Final = ("softmax", "log_softmax", "logsoftmax", "layernorm", "maxout")
_PLACE: Final = "activation"
_MAX_LENGTH: Final = 2000
_MAX_NUMBER_BITS: Final = 4096
_MAX_EXPONENT: Final = 1000


def _refuse(value: str, rule: str, remedy: str = "") -> UnsupportedError:
    return UnsupportedError(_PLACE, value, rule, remedy)


def _refuse_function(name: str) -> UnsupportedError:
    if name in _STEPS:
        return _refuse(
            f"{name} is a step function", "an activation must be continuous: a jump has no slope bound",
            "use tanh, erf or a clipped ramp such as Max(-1, Min(1, x))",
        )  # fmt: skip
    if name.lower() in _COUPLED:
        return _refuse(
            f"{name} couples the units", "an activation is a function of one variable, applied to each unit",
            "put it into the readout, or use an elementwise function",
        )  # fmt: skip
    return _refuse(
        f"the function {name!r}", "only functions whose slope can be enclosed are allowed",
        nearest_name(name, FUNCTIONS),
    )  # fmt: skip


def _power(base: Any, exponent: Any) -> Any:
    # 9**9**9**9 is a short text and a long wait.
    if base.is_Rational and exponent.is_Rational:
        bits = max(int(base.p).bit_length(), int(base.q).bit_length())
        if bits * abs(exponent) > _MAX_NUMBER_BITS:
            raise _refuse(f"a power with {bits * abs(exponent)} bits", f"at most {_MAX_NUMBER_BITS} bits")
    elif exponent.is_Rational and max(abs(exponent.p), exponent.q) > _MAX_EXPONENT:
        raise _refuse(f"the exponent {exponent}", f"exponents have numbers up to {_MAX_EXPONENT}")
    return base**exponent


_COMPARISONS: Final = {ast.Lt: "Lt", ast.LtE: "Le", ast.Gt: "Gt", ast.GtE: "Ge"}


class _Builder:
    """Rebuilds a syntax tree as a SymPy expression; every node type not named here is refused."""

    def __init__(self, text: str) -> None:
        import sympy

        self.sympy = sympy
        self.text = text
        self.symbols: set[str] = set()

    def build(self, node: ast.AST) -> Any:
        method: Callable[[Any], Any] | None = getattr(self, f"build_{type(node).__name__.lower()}", None)
        if method is None:
            raise self.syntax(node)
        return method(node)

    def syntax(self, node: ast.AST) -> InvalidInputError:
        what = ast.get_source_segment(self.text, node) if hasattr(node, "lineno") else None
        return InvalidInputError(
            _PLACE, repr(what or self.text), "an expression has only numbers, one variable, + - * / ** and "
            "calls of " + ", ".join(FUNCTIONS),
        )  # fmt: skip

    def build_expression(self, node: ast.Expression) -> Any:
        return self.build(node.body)

    def build_constant(self, node: ast.Constant) -> Any:
        if node.value is True:
            return self.sympy.true
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return self.sympy.Integer(node.value)
        if isinstance(node.value, float) and abs(node.value) < float("inf"):
            return self.sympy.Rational(repr(node.value))
        raise self.syntax(node)

    def build_name(self, node: ast.Name) -> Any:
        name = node.id
        if name in _CONSTANTS:
            return {"pi": self.sympy.pi, "E": self.sympy.E}[name]
        if name.startswith("_") or "__" in name or name in FUNCTIONS or name in _ALIASES:
            raise self.syntax(node)
        if name in ("I", "oo", "zoo", "nan"):
            raise _refuse(repr(name), "an activation must be real and finite on the whole line")
        self.symbols.add(name)
        return self.sympy.Symbol(name, real=True)

    def build_unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.number(node.operand)
        if isinstance(node.op, ast.USub):
            return -value
        if isinstance(node.op, ast.UAdd):
            return value
        raise self.syntax(node)

    def number(self, node: ast.AST) -> Any:
        value = self.build(node)
        if not isinstance(value, self.sympy.Expr):
            raise self.syntax(node)
        return value

    def build_binop(self, node: ast.BinOp) -> Any:
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            sides = [self.build(node.left), self.build(node.right)]
            if not all(self.is_condition(side) for side in sides):
                raise self.syntax(node)
            return (self.sympy.And if isinstance(node.op, ast.BitAnd) else self.sympy.Or)(*sides)
        left, right = self.number(node.left), self.number(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        raise self.syntax(node)

    def build_compare(self, node: ast.Compare) -> Any:
        terms = [self.number(node.left), *(self.number(right) for right in node.comparators)]
        parts = []
        for left, op, right in zip(terms, node.ops, terms[1:]):
            name = _COMPARISONS.get(type(op))
            if name is None:
                raise self.syntax(node)
            parts.append(getattr(self.sympy, name)(left, right))
        return self.sympy.And(*parts)

    def build_tuple(self, node: ast.Tuple) -> Any:
        if len(node.elts) != 2:
            raise self.syntax(node)
        value, condition = self.number(node.elts[0]), self.build(node.elts[1])
        if not self.is_condition(condition):
            raise self.syntax(node)
        return value, condition

    def is_condition(self, value: Any) -> bool:
        # A SymPy symbol is a Boolean too.
        return isinstance(value, self.sympy.logic.boolalg.Boolean) and not value.is_Symbol

    def build_call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self.syntax(node)
        name = _ALIASES.get(node.func.id, node.func.id)
        if name not in FUNCTIONS:
            raise _refuse_function(name)
        arguments = [self.build(argument) for argument in node.args]
        if name == "Piecewise":
            pieces = all(isinstance(a, tuple) for a in arguments)
            if not arguments or not pieces:
                raise self.syntax(node)
        else:
            many = name in ("Max", "Min")
            if not all(isinstance(a, self.sympy.Expr) for a in arguments) or not (
                arguments if many else len(arguments) == 1
            ):
                raise self.syntax(node)
        return getattr(self.sympy, name)(*arguments)


def _from_text(text: str) -> Any:
    if len(text) > _MAX_LENGTH:
        raise InvalidInputError(
            _PLACE, f"{len(text)} characters", f"an expression has at most {_MAX_LENGTH} characters"
        )
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise InvalidInputError(
            _PLACE, repr(text[:80]), "must be an expression in one real variable, such as 'tanh(2*x) + x/10'"
        ) from None
    builder = _Builder(text.strip())
    try:
        value = builder.build(tree)
    except RecursionError:
        raise InvalidInputError(_PLACE, "too deeply nested", "write the expression flatter") from None
    if len(builder.symbols) > 1:
        raise _refuse_symbols(builder.symbols)
    return value


def _refuse_symbols(names: set[str]) -> UnsupportedError:
    return _refuse(
        "the variables " + ", ".join(sorted(names)), "an activation has exactly one real variable",
        "put numbers in place of the parameters",
    )  # fmt: skip


def _check(expression: sympy.Expr) -> None:
    import sympy

    allowed = tuple(getattr(sympy, name) for name in FUNCTIONS if name != "sqrt")
    plumbing = (
        sympy.Add,
        sympy.Mul,
        sympy.Pow,
        sympy.Symbol,
        sympy.Rational,
        sympy.functions.elementary.piecewise.ExprCondPair,
    )
    conditions = (
        sympy.Lt,
        sympy.Le,
        sympy.Gt,
        sympy.Ge,
        sympy.And,
        sympy.Or,
        sympy.logic.boolalg.BooleanAtom,
    )
    for node in sympy.preorder_traversal(expression):
        if node in (sympy.pi, sympy.E) or isinstance(node, (*allowed, *plumbing, *conditions)):
            continue
        if node is sympy.I or node.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
            raise _refuse(
                f"{expression} contains {node}", "an activation must be real and finite on the line"
            )
        if isinstance(node, (sympy.Eq, sympy.Ne)):
            raise _refuse(f"the condition {node}", "a Piecewise compares with <, <=, > and >= only")
        raise _refuse_function(type(node).__name__ if node.args else str(node))


def parse_expression(expression: Any) -> sympy.Expr:
    """Return an activation expression as a SymPy expression in the real symbol ``x``.

    A text is parsed without evaluating anything. Decimal literals (and SymPy's floats) are read as the
    decimal number that they show, as an exact fraction: ``0.1`` is 1/10.

    Parameters
    ----------
    expression : str or sympy.Expr
        In one variable of any name.

    Raises
    ------
    InvalidInputError
        When the text is not an expression.
    UnsupportedError
        When it has no or several variables, or a function without a slope enclosure; the message names it.

    Examples
    --------
    >>> parse_expression("tanh(2*z) + 0.1*z")
    x/10 + tanh(2*x)
    >>> parse_expression("__import__('os').system('true')")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    esntools.errors.InvalidInputError: activation: "__import__('os').system('true')"; an expression has ...
    """
    import sympy

    value = _from_text(expression) if isinstance(expression, str) else expression
    if not isinstance(value, sympy.Expr):
        raise InvalidInputError(
            _PLACE,
            f"{type(expression).__name__}",
            "must be a text or a SymPy expression in one real variable",
        )
    value = value.replace(lambda e: e.is_Float, lambda e: sympy.Rational(repr(float(e))))
    symbols = value.free_symbols
    if len(symbols) > 1:
        raise _refuse_symbols({str(s) for s in symbols})
    value = value.xreplace({s: sympy.Symbol("x", real=True) for s in symbols})
    _check(value)
    if not symbols:
        raise _refuse(f"{value} has no variable", "an activation is an expression in one real variable")
    return value


@functools.lru_cache(maxsize=64)
def canonical_text(expression: Any) -> str:
    """Return the text that stands for the expression in files and content hashes.

    It reads back as the same expression.

    >>> canonical_text("x*0.5 + tanh(x)")
    'x/2 + tanh(x)'
    """
    value = parse_expression(expression)
    for _ in range(4):
        text = str(value)
        again = parse_expression(text)
        if again == value:
            return text
        value = again
    raise _refuse(str(value), "the expression has no stable text form", "write it more simply")
