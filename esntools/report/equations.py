"""The displayed equations of a report, for the network at hand, drawn as SVG.

MathML would need a mathematical font on the reader's machine, and few have one; Matplotlib's own fonts are
drawn as paths and look alike everywhere.
"""

from __future__ import annotations

from typing import Final

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from esntools.network import EchoStateNetwork
from esntools.study.sentences import number

__all__ = ["equation_svg", "report_equations"]

_COMMANDS: Final = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
_SIZE: Final = 12.5


def equation_svg(formula: str, spoken: str, *, size: float = _SIZE) -> str:
    """Return a formula (Matplotlib's mathtext, without the dollar signs) as an SVG element.

    Parameters
    ----------
    formula : str
        What to draw.
    spoken : str
        What a screen reader says.
    size : float, optional
        Of the letters, in points.

    Examples
    --------
    >>> equation_svg(r"a < 1", "a is less than 1")[:44]
    '<svg role="img" aria-label="a is less than 1'
    """
    path = TextPath((0, 0), f"${formula}$", size=size, prop=FontProperties(math_fontfamily="stix"))
    parts = []
    for vertices, code in path.iter_segments(curves=True, simplify=False):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
        else:
            # SVG counts downwards.
            points = " ".join(f"{x:.2f} {-y:.2f}" for x, y in vertices.reshape(-1, 2))
            parts.append(_COMMANDS[code] + points)
    box = path.get_extents()
    left, top, width, height = box.x0 - 1.0, -box.y1 - 1.0, box.width + 2.0, box.height + 2.0
    spoken = spoken.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return (
        f'<svg role="img" aria-label="{spoken}" class="equation" '
        f'width="{width:.2f}pt" height="{height:.2f}pt" '
        f'viewBox="{left:.2f} {top:.2f} {width:.2f} {height:.2f}" xmlns="http://www.w3.org/2000/svg">'
        f'<path d="{"".join(parts)}" fill="#1a1a1a"/></svg>'
    )


def report_equations(network: EchoStateNetwork) -> dict[str, tuple[str, ...]]:
    """Return the lines of the map, of its Jacobian and of the bound, as SVG, with only the terms it has."""
    phi, readout = network.activation, network.readout
    leak = network.uniform_leak_rate
    leaky = leak is None or leak < 1.0
    feedback = network.W_fb is not None
    keep, take = (r"(1 - a)\,x_k + a\,", r"a\,") if leaky else ("", "")
    drive = r"W x_k"
    drive += r" + W_\mathrm{in} u_{k+1}" if network.n_inputs else ""
    drive += r" + W_\mathrm{fb}\,\psi(x_k)" if feedback else ""
    lines = [rf"x_{{k+1}} = {keep}\varphi(\,{drive} + b\,)"]
    spoken = ["next state: leaky average of the state and phi of the weighted state, input and feedback"]
    if readout is not None:
        squares = "" if readout.is_affine else r" + W_\mathrm{sq}\,(x_k \circ x_k)"
        lines.append(rf"y_k = \psi(x_k) = W_\mathrm{{out}}\,x_k{squares} + b_\mathrm{{out}}")
        spoken.append("output: the readout of the state")
    name = phi.name.replace("_", r"\ ")
    facts = rf"\varphi = \mathrm{{{name}}}" if phi.name != "custom" else r"\varphi\ \mathrm{as\ given}"
    if leaky:
        facts += r",\quad a = " + (r"\mathrm{one\ per\ unit}" if leak is None else number(leak))
    lines.append(facts)
    spoken.append("activation and leak rate")

    low, high = phi.slope_bounds
    weights = r"(W + W_\mathrm{fb}\,D\psi(x))" if feedback else "W"
    identity = r"(1 - a)\,I + " if leaky else ""
    jacobian = (
        rf"D_x G(u, x) = {identity}{take}\mathrm{{diag}}(\varphi'(z))\,{weights},"
        rf"\qquad {number(low)} \leq \varphi'(z) \leq L = {number(high)}"
    )
    start = r"(1 - a) + a\," if leaky else ""
    bound = rf"\Vert D_x G \Vert \ \leq\ {start}L\,\Vert V \Vert \ =\ \rho"
    shrink = (
        r"\Vert x_{k+1} - x'_{k+1} \Vert \ \leq\ \rho\,\Vert x_k - x'_k \Vert \ \leq\ \rho^{\,k+1}\,"
        r"\Vert x_0 - x'_0 \Vert \ \rightarrow\ 0"
    )
    return {
        "map": tuple(equation_svg(line, words) for line, words in zip(lines, spoken)),
        "jacobian": (equation_svg(jacobian, "the Jacobian of one step, with the bounds of the slope"),),
        "bound": (equation_svg(bound, "the norm of the Jacobian is at most rho"),),
        "shrink": (equation_svg(shrink, "differences shrink by rho at every step, hence to zero"),),
    }
