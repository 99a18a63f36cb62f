"""How the tests of a pytest run ended: by a plugin of ours (`pytest_report.py`), not by what the run printed."""

import hashlib
import hmac
import re
import secrets
import shlex
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from envs.errors import SandboxError
from envs.swe.sandbox import Sandbox

PLUGIN = Path(__file__).with_name("pytest_report.py")
MODULE = "trajc_report"
SIGNATURE_BYTES = 32
LARGEST = 4 << 20
"""Of a report, which is compressed: far over 100,000 tests."""


@dataclass(frozen=True)
class Report:
    outcomes: Mapping[str, str]
    replaced: tuple[str, ...]
    """Parts of the test runner that the patch replaced while it ran."""


NOTHING = Report({}, ())


class Reporter:
    """One run's: a key that nobody else has, and where the plugin and its report lie in the sandbox."""

    def __init__(self) -> None:
        self._key = secrets.token_hex(32)
        self._folder = f"/tmp/trajc-{secrets.token_hex(8)}"

    async def place(self, sandbox: Sandbox, patch: Mapping[str, object]) -> None:
        """`patch` is what the plugin is told: `root` (the repository), `changed` (absolute paths), `created` (the new
        ones among them) and `brought` (path and name of the hooks that were added). Raises `SandboxError`."""
        order = orjson.dumps([self._key, f"{self._folder}/report", patch])
        for name, data in ((f"{MODULE}.py", PLUGIN.read_bytes()), ("order", order)):
            if reason := await sandbox.write(f"{self._folder}/{name}", data):
                raise SandboxError(f"the test reporter could not be put into the sandbox: {reason}")

    def around(self, command: str) -> str:
        """The command with the plugin loaded; one that sets PYTHONPATH itself keeps ours before its own."""
        folder = shlex.quote(self._folder)
        command = re.sub(r"\bPYTHONPATH=", f"PYTHONPATH={folder}:", command)
        return (
            f'export PYTHONPATH={folder}${{PYTHONPATH:+:$PYTHONPATH}} PYTEST_ADDOPTS="$PYTEST_ADDOPTS -p {MODULE}"; '
            f"{command}"
        )

    async def read(self, sandbox: Sandbox) -> Report:
        """`NOTHING` where there is no report, or none that the plugin signed: the run did not come to its end."""
        data = await sandbox.read(f"{self._folder}/report", LARGEST) or b""
        signature, packed = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, hmac.new(self._key.encode(), packed, hashlib.sha256).digest()):
            return NOTHING
        outcomes, replaced = orjson.loads(zlib.decompress(packed))
        return Report(outcomes, tuple(replaced))
