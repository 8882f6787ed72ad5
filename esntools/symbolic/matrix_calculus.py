"""The derivative of a vector-valued SymPy expression with respect to a vector, by three rules.

SymPy's own ``diff`` with respect to a MatrixSymbol raises on sums with elementwise functions and returns the
transpose for some products (SymPy 1.14), so it is not used. The three rules are those of a neural map: a
linear map, an elementwise function, a sum. What fits none of them is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from esntools._typing import FloatArray
from esntools.errors import UnsupportedError

__all__ = ["differentiate", "evaluate"]


def differentiate(expression: Any, x: Any) -> Any:
    r"""Return the Jacobian matrix of a column-vector expression with respect to the column vector x.

    * sum: :math:`D(f + g) = Df + Dg`;
    * linear map: :math:`D(A f) = A\,Df` for A free of x;
    * elementwise function: :math:`D(\varphi(f)) = \mathrm{diag}(\varphi'(f))\,Df`.

    Parameters
    ----------
    expression : sympy.MatrixExpr, shape (m, 1)
    x : sympy.MatrixSymbol, shape (n, 1)

    Returns
    -------
    sympy.MatrixExpr, shape (m, n)

    Raises
    ------
    UnsupportedError
        When a part of the expression fits none of the rules.

    Examples
    --------
    >>> import sympy
    >>> n, t = sympy.Symbol("n", integer=True, positive=True), sympy.Symbol("t", real=True)
    >>> x, W = sympy.MatrixSymbol("x", n, 1), sympy.MatrixSymbol("W", n, n)
    >>> differentiate((W * x).applyfunc(sympy.Lambda(t, sympy.tanh(t))), x)
    DiagMatrix(Lambda(t, 1 - tanh(t)**2).(W*x))*W
    """
    import sympy
    from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

    rows = expression.shape[0]
    if expression == x:
        return sympy.Identity(rows)
    if not expression.has(x):
        return sympy.ZeroMatrix(rows, x.shape[0])
    if isinstance(expression, sympy.MatAdd):
        return sympy.Add(*(differentiate(term, x) for term in expression.args)).doit(deep=False)
    if isinstance(expression, sympy.MatMul):
        *left, last = expression.args
        if not any(factor.has(x) for factor in left):
            return sympy.MatMul(*left, differentiate(last, x)).doit(deep=False)
    if isinstance(expression, ElementwiseApplyFunction):
        inner = differentiate(expression.expr, x)
        slope = sympy.Lambda(expression.function.variables, _slope(expression.function))
        diagonal = sympy.DiagMatrix(expression.expr.applyfunc(slope))
        return diagonal if inner == sympy.Identity(rows) else sympy.MatMul(diagonal, inner)
    raise UnsupportedError(
        "differentiate", str(expression), "must be made of sums, linear maps and functions"
    )


def _slope(function: Any) -> Any:
    (t,) = function.variables
    return function.expr.diff(t)


def evaluate(expression: Any, values: Mapping[str, FloatArray], functions: Mapping[Any, Any]) -> FloatArray:
    """Return the number matrix of a matrix expression.

    Parameters
    ----------
    expression : sympy.MatrixExpr
    values : mapping
        The array of each matrix symbol and of each scalar symbol, by name.
    functions : mapping
        For elementwise functions (SymPy ``Lambda``) a NumPy function to use; the others are lambdified.
    """
    import sympy
    from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

    def run(e: Any) -> Any:
        if isinstance(e, sympy.MatrixSymbol):
            return values[e.name]
        if isinstance(e, sympy.Identity):
            return np.eye(len(values["x"]))
        if isinstance(e, sympy.ZeroMatrix):
            return 0.0
        if isinstance(e, sympy.MatAdd):
            return sum(run(a) for a in e.args)
        if isinstance(e, sympy.MatMul):
            product: Any = None
            for a in e.args:
                factor = run(a)
                product = (
                    factor if product is None else product @ factor if np.ndim(product) else product * factor
                )
            return product
        if isinstance(e, sympy.Transpose):
            return run(e.args[0]).T
        if isinstance(e, sympy.BlockMatrix):
            return np.block(
                [[run(e.blocks[i, j]) for j in range(e.blockshape[1])] for i in range(e.blockshape[0])]
            )
        if isinstance(e, sympy.DiagMatrix):
            return np.diag(run(e.args[0])[:, 0])
        if isinstance(e, ElementwiseApplyFunction):
            known = functions.get(e.function)
            return (sympy.lambdify(e.function.variables, e.function.expr) if known is None else known)(
                run(e.expr)
            )
        return float(e.subs({s: values[s.name] for s in e.free_symbols}))

    return np.asarray(run(expression), dtype=np.float64)
