"""The few shapes of the project's drawings: boxes, arrows and labels, legible on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

Point = tuple[float, float]

STYLE = """
  :root { --page: #ffffff; --box: #f6f8fa; --line: #d0d7de; --text: #1f2328; --muted: #59636e; --arrow: #6e7781; }
  @media (prefers-color-scheme: dark) {
    :root { --page: #0d1117; --box: #161b22; --line: #3d444d; --text: #e6edf3; --muted: #9198a1; --arrow: #8b949e; }
  }
  text { font: 12px ui-sans-serif, system-ui, "Segoe UI", Inter, Helvetica, Arial, sans-serif; fill: var(--muted); }
  text.name { font-size: 14px; font-weight: 600; fill: var(--text); }
  .page { fill: var(--page); }
  .box { fill: var(--box); stroke: var(--line); }
  .group { fill: none; stroke: var(--line); stroke-dasharray: 5 4; }
  .halo { stroke: var(--page); stroke-width: 5px; paint-order: stroke; stroke-linejoin: round; }
  .arrow { fill: none; stroke: var(--arrow); stroke-width: 1.5; marker-end: url(#head); }
  .dashed { stroke-dasharray: 4 4; }
  #head path { fill: var(--arrow); }
"""
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>'
)


@dataclass(frozen=True)
class Box:
    """A named thing at a place; `accent` is the colour of its edge."""

    name: str
    caption: str
    left: float
    top: float
    width: float = 150
    height: float = 52
    accent: str = "#6e7781"

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def middle(self) -> Point:
        """Its centre."""
        return self.left + self.width / 2, self.top + self.height / 2

    def drawn(self) -> str:
        """The box with its name and caption."""
        across = self.middle[0]
        place = f'x="{self.left:g}" y="{self.top:g}" height="{self.height:g}"'
        return (
            f'<rect class="box" {place} width="{self.width:g}" rx="6"/>'
            f'<rect {place} width="5" rx="2.5" fill="{self.accent}"/>'
            + label(self.name, (across, self.top + 22), name=True)
            + label(self.caption, (across, self.top + 40))
        )


def label(words: str, at: Point, *, name: bool = False, over_line: bool = False) -> str:
    """Words centred at a point; `over_line` keeps an arrow behind them from striking them through."""
    kind = "name" if name else "halo" if over_line else ""
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{at[0]:g}" y="{at[1]:g}" text-anchor="middle">{escape(words)}</text>'


def arrow(points: Sequence[Point], *, dashed: bool = False, both: bool = False) -> str:
    """An arrow along some points, in straight lines."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    start = ' marker-start="url(#head)"' if both else ""
    return f'<polyline class="arrow{" dashed" if dashed else ""}"{start} points="{path}"/>'


def group(name: str, left: float, top: float, width: float, height: float) -> str:
    """A dashed frame around what belongs together."""
    frame = f'<rect class="group" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="10"/>'
    return frame + label(name, (left + width / 2, top + height - 10), name=True)


def picture(width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    """A whole SVG file; title and description are what a screen reader reads."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="title description">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="description">{escape(description)}</desc>\n'
        f"<style>{STYLE}</style>\n{HEAD}\n"
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>\n{body}\n</svg>\n'
    )
