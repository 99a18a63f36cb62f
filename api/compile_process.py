"""`python -m api.compile_process`: take one step of a compilation, or estimate one, named by a line of JSON on stdin.

Exits 0 once the step is taken, or the compilation stands as failed or cancelled, and with `TRY_AGAIN` where the
database did not do its part; dies with the process that started it. An estimate is written to stdout.
"""

import logging
import os
import sys
from pathlib import Path

import orjson
from sqlalchemy.exc import SQLAlchemyError

from api.compile_ahead import prepare
from api.compile_steps import Step, take_step
from api.compile_told import Interrupted
from api.estimate import estimate
from api.lifeline import end_with
from compiler.errors import CompileError
from compiler.recipe import parse_recipe
from rollout.blobs import FolderBlobs
from rollout.database import stays
from rollout.store import Store

log = logging.getLogger(__name__)
TRY_AGAIN = os.EX_TEMPFAIL


def main() -> None:
    order = orjson.loads(sys.stdin.buffer.readline())
    end_with(sys.stdin.fileno())
    home, payload, scorers = Path(order["home"]), order["payload"], order["scorers"]
    blobs, datasets = FolderBlobs(home / "blobs"), home / "datasets"
    try:
        with Store.open(order["database"], blobs) as store:
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
    except SQLAlchemyError as e:
        if stays(e):
            raise
        log.error("%s: the database did not do its part: %s", payload, e)
        sys.exit(TRY_AGAIN)


if __name__ == "__main__":
    main()
