"""One long-lived bash behind a byte channel: how commands go in, and how their end is known.

The shell reads a command, says that it begins, evaluates it with no input, and answers with a mark that holds a number
drawn for this command, the exit status, the directory and the exported environment. A command that writes such a mark
itself deceives only itself. The sandbox behind the channel is what contains it.

When its input ends, as it does when the process that wrote to it dies, the shell leaves its state in a file, so that
a new one can go on as if it were the same.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Protocol

from envs.errors import SandboxError
from envs.swe.output import HeadTail
from envs.swe.sandbox import Bounds, Output

PROGRAM = r"""
exec 2>&1
__trace=
__farewell() {
  builtin set +x  # or it would tell how we tell, with a mark that is another each time
  [[ $3 == *x* ]] && __trace='builtin set -x; ' || __trace=
  [[ ${__begun-} || $2 == gone ]] || builtin exit 126  # it cannot open a file any more, which another shell can
  builtin printf '\0%s %s %d %s\0' "$__mark" "$2" "$1" "$PWD"
  builtin export -p
  builtin printf '\0%s\0' "$__mark"
}
trap '__farewell "$?" gone "$-"' EXIT
while IFS= builtin read -r -d '' __mark; do
  [[ ${#__mark} == 24 ]] || continue  # what a command wrote into our input
  IFS= builtin read -r -d '' __command || break
  __begun=
  { builtin printf '\0%s+' "$__mark"; __begun=1; builtin eval "${__trace-}$__command"; } </dev/null
  __farewell "$?" here "$-"
done
if [ -n "${__left-}" ]; then
  __set=$SHELLOPTS${__trace:+:xtrace}
  builtin set +eux
  __jobs=$(builtin jobs -pr)
  builtin unset __mark __command __begun __trace
  {
    builtin echo "# ${__jobs:+busy}"
    builtin declare -p; builtin declare -f; builtin alias -p; builtin umask -p; builtin trap -p; builtin shopt -p
    builtin echo "builtin set -o ${__set//:/$'\n'builtin set -o }"
    builtin echo "# end"
  } > "$__left" 2>/dev/null
fi
"""
STATE_LIMIT = 256 << 10
END_SECONDS = 5.0
"""How long a shell's farewell may take once its end was seen."""


class Channel(Protocol):
    """A program's input and output as raw bytes."""

    async def write(self, data: bytes) -> None: ...

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises `SandboxError`."""
        ...

    async def close(self) -> None: ...

    async def exit_code(self) -> int | None:
        """After the end; None where it is not known."""
        ...


@dataclass
class State:
    """What outlives a shell that ended."""

    directory: str
    exports: bytes = b""


@dataclass
class Ending:
    """How one command's stream ended: `closed` when the shell itself is gone."""

    code: int | None
    closed: bool
    flood: bool = False
    begun: bool = True
    """False where the shell ended before it read the command."""


class Shell:
    """Raises whatever its channel raises. One command at a time."""

    def __init__(self, channel: Channel, state: State, bounds: Bounds, left: str = "") -> None:
        self._channel = channel
        self._state = state
        self._bounds = bounds
        self.left = left
        """The file that the shell leaves when its input ends; "" for one that leaves none."""

    @classmethod
    async def open(cls, channel: Channel, state: State, bounds: Bounds, prelude: str = "", left: str = "") -> "Shell":
        """A shell in the state's directory with its exports; `prelude` runs first, and its output is dropped."""
        shell = cls(channel, state, bounds, left)
        restore = state.exports.decode("utf-8", "surrogateescape")
        leave = f"__left={_quoted(left)}" if left else ""
        await shell.run(f"{prelude}\n{restore}\n{leave}\ncd -- {_quoted(state.directory)}\ntrue", 30)
        return shell

    def adopt(self, state: State) -> None:
        """Keep what outlives this shell in another place from now on."""
        self._state = state

    async def close(self) -> None:
        await self._channel.close()

    async def run(self, command: str, seconds: float) -> Output:
        """On `timeout` and `flood` the processes still run: the caller sweeps them and drops this shell."""
        mark = secrets.token_hex(12).encode()
        kept = HeadTail(self._bounds.keep_bytes)
        began = time.monotonic()
        text = command.replace("\0", "").encode("utf-8", "surrogateescape")
        try:
            async with asyncio.timeout(seconds):
                ending = await self._told(b"\0" + mark + b"\0" + text + b"\0") or await self._collect(mark, kept)
        except TimeoutError:
            ending = None
        data, left_out, cut_at = kept.result()
        ended = "timeout" if ending is None else "flood" if ending.flood else "exited"
        return Output(
            data=data,
            left_out=left_out,
            cut_at=cut_at,
            code=ending.code if ending is not None and ended == "exited" else None,
            ended=ended,  # type: ignore[arg-type]
            seconds=time.monotonic() - began,
            fresh_shell=ending is None or ending.closed or ending.flood,
            begun=ending is None or ending.begun,
        )

    async def _told(self, data: bytes) -> Ending | None:
        """Send a command; how the shell ended, where it had ended before: what an agent left behind may kill it."""
        try:
            await self._channel.write(data)
        except SandboxError:
            code = await self._channel.exit_code()
            return Ending(code, closed=True, begun=code is None)
        return None

    async def _collect(self, mark: bytes, kept: HeadTail) -> Ending:
        start, begin = b"\0" + mark + b" ", b"\0" + mark + b"+"
        carry = b""
        begun = False
        while True:
            try:
                chunk = await self._channel.read()
            except asyncio.CancelledError:
                kept.feed(carry)
                raise
            if not chunk:
                kept.feed(carry)
                code = await self._channel.exit_code()
                return Ending(code, closed=True, begun=begun or code is None)
            carry += chunk
            if not begun and begin in carry:
                begun = True
                carry = carry.replace(begin, b"", 1)
            at = carry.find(start)
            if at >= 0:
                kept.feed(carry[:at])
                return await self._farewell(mark, carry[at + len(start) :], begun)
            keep = len(start) - 1
            kept.feed(carry[:-keep])
            carry = carry[-keep:]
            if kept.total > self._bounds.flood_bytes:
                return Ending(None, closed=False, flood=True)

    async def _farewell(self, mark: bytes, rest: bytes, begun: bool) -> Ending:
        end = b"\0" + mark + b"\0"
        async with asyncio.timeout(END_SECONDS):
            while end not in rest and len(rest) < STATE_LIMIT:
                chunk = await self._channel.read()
                if not chunk:
                    break
                rest += chunk
        head, _, exports = rest.partition(b"\0")
        here, code, directory = (*head.split(b" ", 2), b"", b"")[:3]
        whole = exports.endswith(end)
        if whole:
            self._state.exports = exports[: -len(end)]
        if directory.startswith(b"/"):
            self._state.directory = directory.decode("utf-8", "surrogateescape")
        return Ending(int(code) if code.isdigit() else None, closed=not whole or here != b"here", begun=begun)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
