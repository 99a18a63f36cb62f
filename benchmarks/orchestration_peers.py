"""The same rollouts in other frameworks: CPU a turn of ours, with journal and store on, beside theirs.

Each peer lives in a virtual environment of its own below `.cache`, made here at first use, and runs its script of
`peers/` there. One that cannot be installed is skipped with the reason, and gives no row.
"""

import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.orchestration_turn import ROLLOUTS, child, endpoint
from benchmarks.run import row

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
ROUNDS, TURNS, SIZE = 3, 20, 4096
INSTALL_SECONDS = 900


@dataclass(frozen=True)
class Peer:
    """`tool` and `arguments` are what the endpoint's replies call."""

    name: str
    version: str
    tool: str
    arguments: str

    @property
    def script(self) -> Path:
        return HERE / "peers" / f"{self.name.replace('-', '_')}.py"


PEERS = (
    Peer("mini-swe-agent", "2.4.6", "bash", '{"command": "cat page-3"}'),
    Peer("openai-agents", "0.24.0", "look", '{"page": 3}'),
)


def python_of(peer: Peer) -> Path:
    """The interpreter that has the peer. Raises `CalledProcessError` or `TimeoutExpired` where pip cannot get it."""
    home = CACHE / f"{peer.name}-{peer.version}"
    python, whole = home / "bin" / "python", home / "installed"
    if not whole.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = [python, "-m", "pip", "install", "--quiet", f"{peer.name}=={peer.version}"]
        subprocess.run(install, check=True, timeout=INSTALL_SECONDS)
        whole.touch()
    return python


def against(peer: Peer, python: Path) -> dict[str, Any]:
    us, them = [], []
    with endpoint() as port, endpoint(tool=peer.tool, arguments=peer.arguments) as theirs:
        for _ in range(ROUNDS):
            us.append(child("benchmarks.orchestration_engine", port, TURNS, SIZE)["cpu"])
            them.append(child(peer.script, theirs, TURNS, SIZE, python=python)["cpu"])
    scale = 1000 / ROLLOUTS / TURNS
    ours, other = statistics.median(us) * scale, statistics.median(them) * scale
    return row(f"orchestration/vs-{peer.name}", ours, other, "ms CPU/turn", "<=0.25")


def run() -> list[dict[str, Any]]:
    rows = []
    for peer in PEERS:
        try:
            python = python_of(peer)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
            print(f"{peer.name} {peer.version} skipped, it cannot be installed: {e}", file=sys.stderr)
            continue
        rows.append(against(peer, python))
    return rows
