"""Bar charts of a dataset's statistics as SVG text: no fonts, no clock, the same bytes every time."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from compiler.drops import Accounts

WIDTH, HEIGHT, LEFT, TOP, FOOT = 460, 240, 46, 34, 46


def draw(folder: Path, statistics: Mapping[str, Any], accounts: Accounts) -> None:
    """`lengths`, `places`, `distances` and `drops` below `folder`; `pass_rates` where a teacher was asked."""
    tenths = {f"{10 * i} %": n for i, n in enumerate(statistics["needed_position_tenths"])}
    drops = {**accounts.trajectories_dropped, **accounts.examples_dropped}
    charts = {
        "lengths": ("Example lengths (tokens)", _thousands(statistics["lengths"])),
        "places": ("Where needed evidence stands in the context", tenths),
        "distances": ("Tokens between neighbouring needed pieces", _thousands(statistics["needed_distances"])),
        "drops": ("Dropped, by reason", drops),
    }
    if rates := pass_rates(statistics, accounts):
        charts["pass_rates"] = ("The teacher's right samples of one example", rates)
    folder.mkdir()
    for name, (title, bars) in charts.items():
        (folder / f"{name}.svg").write_text(bar_chart(title, bars))


def pass_rates(statistics: Mapping[str, Any], accounts: Accounts) -> dict[str, int]:
    """`2 of 4` -> examples; `none` for those that were dropped because no sample was right."""
    mark = "teacher_pass_rate: "
    rates = {label.removeprefix(mark): n for label, n in statistics["labels"].items() if label.startswith(mark)}
    never = accounts.trajectories_dropped.get("teacher_never_right", 0)
    return {"none": never} | rates if rates or never else {}


def _thousands(histogram: Mapping[str, int], most: int = 24) -> dict[str, int]:
    """At most `most` bins of equal width, by doubling."""
    bins = {int(edge) // 1024: n for edge, n in histogram.items()}
    width = 1
    while bins and max(bins) // width >= most:
        width *= 2
    out = {f"{i * width}k": 0 for i in range(max(bins) // width + 1)} if bins else {}
    for edge, n in bins.items():
        out[f"{edge // width * width}k"] += n
    return out


def bar_chart(title: str, bars: Mapping[str, int]) -> str:
    top = max(bars.values(), default=0) or 1
    step = (WIDTH - LEFT - 10) / max(len(bars), 1)
    floor = HEIGHT - FOOT
    slanted = max(map(len, bars), default=0) > 6
    every = 1 if slanted else -(-len(bars) // 8)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="13" fill="#1f2937">{escape(title)}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end" fill="#4b5563">{top:,}</text>',
        f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - 10}" y2="{floor}" stroke="#9ca3af"/>',
    ]
    for i, (name, n) in enumerate(bars.items()):
        height = (floor - TOP) * n / top
        x = LEFT + i * step
        out.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{floor - height:.1f}" width="{step * 0.8:.1f}" '
            f'height="{height:.1f}" fill="#2563eb"><title>{escape(name)}: {n:,}</title></rect>'
        )
        if i % every == 0:
            middle = f"{x + step / 2:.1f}"
            turned = f'text-anchor="end" transform="rotate(-25 {middle} {floor + 14})"'
            anchor = turned if slanted else 'text-anchor="middle"'
            words = f'x="{middle}" y="{floor + 14}" fill="#4b5563" {anchor}'
            out.append(f"<text {words}>{escape(name)}</text>")
    return "\n".join([*out, "</svg>", ""])
