"""`python -m api.compile_process`: take one step of a compilation, or estimate one, named by a line of JSON on stdin.

Exits 0 once the step is taken, or the compilation stands as failed or cancelled, and dies with the process that
started it. An estimate is written to stdout.
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import orjson

from api.compile_ahead import prepare
from api.compile_steps import Step, take_step
from api.compile_told import Interrupted
from api.estimate import estimate
from compiler.errors import CompileError
from compiler.recipe import parse_recipe
from rollout.blobs import FolderBlobs
from rollout.store import Store

log = logging.getLogger(__name__)


def die_with(pipe: int) -> None:
    """End this process when the pipe does: nobody waits for it any more."""
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    order = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=die_with, args=(sys.stdin.fileno(),), daemon=True).start()
    home, payload, scorers = Path(order["home"]), order["payload"], order["scorers"]
    blobs, datasets = FolderBlobs(home / "blobs"), home / "datasets"
    with Store.open(order["database"], blobs) as store:
        try:
            if "estimate" in payload:
                found = estimate(store, blobs, datasets, parse_recipe(payload["estimate"]), scorers)
                sys.stdout.buffer.write(orjson.dumps(found.model_dump()))
            elif "compilation" in payload:
                step = Step.model_validate(payload)
                take_step(store, blobs, datasets, step, scorers=scorers, alone=order["alone"])
            else:
                prepare(store, blobs, datasets, payload, scorers=scorers)
        except CompileError as e:  # of an estimate: a compilation's is in the store
            sys.exit(str(e))
        except Interrupted as e:
            log.warning("%s: %s", payload, e)


if __name__ == "__main__":
    main()
