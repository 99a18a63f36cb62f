"""`make bench`: run every module beside this one, print a table, write results.json.

A module's `run()` measures both sides in one go and returns rows
`{name, ours, other, unit, ratio, target, met}`: `ratio` is ours/other and `target` a text such as "<=1.5".
Name modules on the command line to run only those; a run of some keeps the other rows of results.json.
"""

import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"


def meets(ratio: float, target: str) -> bool:
    """Whether a ratio keeps a target such as "<=1.5" or ">=0.8"."""
    bound = float(target[2:])
    if target.startswith("<="):
        return ratio <= bound
    if target.startswith(">="):
        return ratio >= bound
    raise ValueError(f"target {target!r} must start with <= or >=")


def row(name: str, ours: float, other: float, unit: str, target: str) -> dict[str, Any]:
    """One line of the table."""
    ratio = ours / other
    return {
        "name": name,
        "ours": round(ours, 4),
        "other": round(other, 4),
        "unit": unit,
        "ratio": round(ratio, 3),
        "target": target,
        "met": meets(ratio, target),
    }


def show(rows: list[dict[str, Any]]) -> None:
    width = max((len(r["name"]) for r in rows), default=4)
    print(f"{'name':{width}}  {'ours':>12} {'other':>12} {'unit':<14} {'ratio':>8} {'target':<8} met")
    for r in rows:
        print(
            f"{r['name']:{width}}  {r['ours']:>12} {r['other']:>12} {r['unit']:<14}"
            f" {r['ratio']:>8} {r['target']:<8} {'yes' if r['met'] else 'NO'}"
        )


def main() -> int:
    modules = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in {"run", "__init__"})
    chosen = sys.argv[1:] or modules
    if unknown := set(chosen) - set(modules):
        sys.exit(f"no benchmark called {', '.join(sorted(unknown))}; there are: {', '.join(modules)}")
    rows = {r["name"]: r for r in json.loads(RESULTS.read_text())} if sys.argv[1:] and RESULTS.exists() else {}
    broken = []
    for name in chosen:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows |= {r["name"]: r for r in importlib.import_module(f"benchmarks.{name}").run()}
        except Exception:
            traceback.print_exc()
            broken.append(name)
    table = [rows[name] for name in sorted(rows)]
    show(table)
    RESULTS.write_text(json.dumps(table, indent=1) + "\n")
    if broken:
        print(f"broken, no row written: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
