"""The colours of plots and pages, light and dark.

Plots use the light ones. A page replaces them by style-sheet variables, so that a plot
inside it follows the reader's theme. Every series colour has a contrast of 4.5:1 or better against
its surface, and no series is told by colour alone: markers, dashes and hatches differ too.
"""

from __future__ import annotations

SURFACE = "#fefefe"
INK = "#1b1f24"
QUIET = "#57606a"
GRID = "#e3e6ea"
SERIES = ("#1f5fae", "#b84a0f", "#1a7a55", "#8a3ea9", "#a83248", "#75651a", "#4b5a6b")

_DARK_SURFACE = "#12161c"
_DARK_INK = "#e6e9ee"
_DARK_QUIET = "#a3adb8"
_DARK_GRID = "#2c343d"
_DARK_SERIES = ("#74b0ff", "#ff9a62", "#5fd0a2", "#d39bf0", "#ff8fa0", "#d8c66a", "#b4c2d1")

LIGHT = {
    "surface": SURFACE,
    "ink": INK,
    "quiet": QUIET,
    "grid": GRID,
    **{f"series-{number}": colour for number, colour in enumerate(SERIES, 1)},
}
DARK = {
    "surface": _DARK_SURFACE,
    "ink": _DARK_INK,
    "quiet": _DARK_QUIET,
    "grid": _DARK_GRID,
    **{f"series-{number}": colour for number, colour in enumerate(_DARK_SERIES, 1)},
}
