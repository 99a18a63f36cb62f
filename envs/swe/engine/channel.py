"""A program started in a container, as a stream of bytes in and out."""

from aiodocker.execs import Exec
from aiodocker.stream import Stream

from envs.swe.engine.words import engine_words


class DockerChannel:
    """Both output streams come as one. Raises `SandboxError` where the engine or the connection breaks."""

    def __init__(self, made: Exec, stream: Stream) -> None:
        self._made = made
        self._stream = stream

    async def write(self, data: bytes) -> None:
        with engine_words("writing to a command"):
            await self._stream.write_in(data)

    async def read(self) -> bytes:
        with engine_words("reading a command's output"):
            message = await self._stream.read_out()
        return message.data if message is not None else b""

    async def close(self) -> None:
        with engine_words("closing a command's stream"):
            await self._stream.close()

    async def exit_code(self) -> int | None:
        """Raises `SandboxError` where the command could not be started at all."""
        with engine_words("asking for a command's exit status"):
            found = await self._made.inspect()
        code = found.get("ExitCode")
        return int(code) if code is not None and not found.get("Running") else None
