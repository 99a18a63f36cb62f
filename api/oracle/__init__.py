"""The oracle: an OpenAI-compatible server of our own that solves tasks from their references over real HTTP.

For demos, tests and load. It holds no conversation: every answer follows from the request's messages, the
task they name, and the settings' seed. Only `/stats` and the choice of transport faults count what went by.
"""

from api.oracle.known import Known, Library, load_tasks
from api.oracle.planted import Plant, load_planted
from api.oracle.recorded import Recording, load_recordings, parse_recording
from api.oracle.running import running_oracle, serve
from api.oracle.settings import Faults, OracleSettings

__all__ = [
    "Faults",
    "Known",
    "Library",
    "OracleSettings",
    "Plant",
    "Recording",
    "load_planted",
    "load_recordings",
    "load_tasks",
    "parse_recording",
    "running_oracle",
    "serve",
]
