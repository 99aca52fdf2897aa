# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outcomes as a picture: a strip of time for each, whose height is all requests of a moment. SVG, no scripts; the
colours follow the reader's light or dark scheme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import groupby

from bench.run import BEFORE, Outcome, version_of

STEP = 0.25
SECONDS = 26.0
PIXELS_PER_SECOND = 10
LABEL = 210
NUMBER = 78
LINE = 26
STRIP = 18
TOP = 64
# from the bottom of a strip to its top
KINDS = ("old", "new", "wrong", "lost")

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.head { font-weight: 600; } .number { text-anchor: end; }
.good { fill: #57606a; } .bad { font-weight: 600; fill: #b3261e; }
.old { fill: #b6c6d8; } .new { fill: #4f81b5; } .wrong { fill: #e0a100; } .lost { fill: #cf3030; }
.change { stroke: #1f2328; stroke-width: 1; stroke-dasharray: 2 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .good { fill: #9da7b3; } .bad { fill: #ff8a80; }
  .old { fill: #3d4f63; } .new { fill: #6ea8e0; } .wrong { fill: #f0b429; } .lost { fill: #f0524f; }
  .change { stroke: #e6edf3; }
}"""


def picture(outcomes: Sequence[Outcome]) -> str:
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    titles = list(dict.fromkeys(outcome.row.title for outcome in outcomes))
    column = round(SECONDS * PIXELS_PER_SECOND) + NUMBER + 16
    width, height = LABEL + column * len(methods), TOP + LINE * len(titles) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Requests over time, for each new release and each way to bring it live</title>",
        f"<style>{_STYLE}</style>",
        *_legend(),
    ]
    for number, method in enumerate(methods):
        x = LABEL + column * number
        change = x + BEFORE * PIXELS_PER_SECOND
        parts.append(f'<text class="head" x="{x}" y="48">{escape(method)}</text>')
        parts.append(f'<line class="change" x1="{change}" x2="{change}" y1="{TOP - 8}" y2="{height - 4}"/>')
    for line, title in enumerate(titles):
        parts.append(f'<text x="8" y="{TOP + LINE * line + 14}">{escape(title)}</text>')
    for outcome in outcomes:
        x = LABEL + column * methods.index(outcome.method)
        y = TOP + LINE * titles.index(outcome.row.title)
        parts += _strip(outcome, x, y)
        bad = outcome.failed + outcome.wrong
        parts.append(
            f'<text class="number {"bad" if bad else "good"}" x="{x + column - 16}" y="{y + 14}">{bad:,}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    words = ["answered by the old version", "answered by the new one", "wrong answer", "lost"]
    parts, x = [], 8
    for kind, text in zip(KINDS, words, strict=True):
        parts.append(f'<rect class="{kind}" x="{x}" y="8" width="12" height="12"/>')
        parts.append(f'<text x="{x + 18}" y="19">{text}</text>')
        x += 36 + 7 * len(text)
    parts.append(f'<text x="{x}" y="19">dashed: the change begins; number: requests lost or answered wrong</text>')
    return parts


def _strip(outcome: Outcome, x: float, y: float) -> list[str]:
    """One path a kind; moments that look alike are one rectangle."""
    moments: dict[int, Counter[str]] = {}
    for since_change, sample in outcome.samples:
        kind = (version_of(sample) or "wrong") if sample.status else "lost"
        moments.setdefault(int((since_change + BEFORE) / STEP), Counter())[kind] += 1
    paths: dict[str, list[str]] = {kind: [] for kind in KINDS}
    shapes = [(moment, _shape(moments[moment])) for moment in sorted(moments) if 0 <= moment < SECONDS / STEP]
    for shape, group in groupby(shapes, key=lambda item: item[1]):
        first, *_between, last = [moment for moment, _value in group] * 2
        left, width = x + first * STEP * PIXELS_PER_SECOND, (last - first + 1) * STEP * PIXELS_PER_SECOND
        for kind, (low, high) in zip(KINDS, shape, strict=True):
            if high > low:
                paths[kind].append(f"M{left:g} {y + STRIP - high}h{width:g}v{high - low}h{-width:g}z")
    return [f'<path class="{kind}" d="{"".join(path)}"/>' for kind, path in paths.items() if path]


def _shape(counts: Counter[str]) -> tuple[tuple[int, int], ...]:
    """For each kind the pixels from the bottom at which its part of the strip begins and ends."""
    # a single one that was lost is seen too
    heights = {
        kind: max(2, round(STRIP * counts[kind] / counts.total())) if counts[kind] else 0 for kind in ("lost", "wrong")
    }
    rest, good = max(0, STRIP - sum(heights.values())), counts["old"] + counts["new"]
    heights["old"] = round(rest * counts["old"] / good) if good else 0
    heights["new"] = rest - heights["old"] if good else 0
    ends = [0]
    for kind in KINDS:
        ends.append(min(STRIP, ends[-1] + heights[kind]))
    return tuple(zip(ends, ends[1:], strict=False))
