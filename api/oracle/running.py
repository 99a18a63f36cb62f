"""Starting an oracle: for ever, or for the length of a block."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from api.oracle.connections import OracleProtocol
from api.oracle.known import Known, Library
from api.oracle.mind import Mind
from api.oracle.recorded import Recording
from api.oracle.server import Oracle
from api.oracle.settings import OracleSettings


def serve(
    settings: OracleSettings,
    tasks: Iterable[Known] | Library,
    host: str = "127.0.0.1",
    port: int = 8000,
    recordings: Iterable[Recording] = (),
) -> None:
    """Serve until a signal ends it. Port 0 takes a free one, which the log names."""
    asyncio.run(_serve(settings, tasks, host, port, recordings))


async def _serve(
    settings: OracleSettings, tasks: Iterable[Known] | Library, host: str, port: int, recordings: Iterable[Recording]
) -> None:
    oracle = _oracle(settings, tasks, recordings)
    await _Server(oracle, host, port, log_level="info").serve()


@asynccontextmanager
async def running_oracle(
    settings: OracleSettings,
    tasks: Iterable[Known] | Library,
    host: str = "127.0.0.1",
    port: int = 0,
    recordings: Iterable[Recording] = (),
) -> AsyncIterator[str]:
    """The base URL (ending in `/v1`) of an oracle on this event loop. It catches no signals."""
    oracle = _oracle(settings, tasks, recordings)
    listener = socket.create_server((host, port), backlog=2048)
    server = _Quiet(oracle, host, port, log_level="warning")
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                raise RuntimeError("the oracle did not start") from serving.exception()
            await asyncio.sleep(0.01)
        yield f"http://{host}:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Lets hanging requests go before it waits for the others."""

    def __init__(self, oracle: Oracle, host: str, port: int, log_level: str) -> None:
        self.oracle = oracle
        super().__init__(
            uvicorn.Config(
                oracle.app(),
                host=host,
                port=port,
                http=OracleProtocol,
                ws="none",
                lifespan="off",
                log_level=log_level,
                access_log=False,
                backlog=2048,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=2,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.oracle.closing.set()
        await super().shutdown(sockets)


class _Quiet(_Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the embedding program's own."""
        yield


def _oracle(settings: OracleSettings, tasks: Iterable[Known] | Library, recordings: Iterable[Recording]) -> Oracle:
    library = tasks if isinstance(tasks, Library) else Library(tasks)
    return Oracle(Mind(library, settings, tuple(recordings)))
