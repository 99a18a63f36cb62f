"""What a container is allowed, as the Engine's API words it."""

from typing import Any

import orjson

from envs.swe.engine.seccomp import profile
from envs.swe.sandbox import SandboxSpec

SERVICE = "trajc.service"
EXPIRES = "trajc.expires"
"""Unix seconds after which nobody may still want the container."""

# Process 1 belongs to root and ignores what ends others, so that a sweep of the agent's processes leaves it. It is
# no shell that waits for a child only: it wakes and ends the container when its time is over, or when the engine has
# thrown away what it keeps of it. One that was killed while it started this container holds it for one that never
# started: removing it then removes the record, and no call of the engine's reaches the processes any more.
# A shell that can start no process ends, and the container with it; so it starts one only, which wakes it from time to
# time and starts none itself: it naps by reading from a pipe that it holds both ends of.
WATCH = """
trap "" TERM INT HUP
trap : USR1
exec 3<> <(:)
until [ "$SECONDS" -ge "$0" ]; do
    kill -0 "$waker" || {
        while read -r -t "$(($0 < 30 ? $0 : 30))" -u 3 || kill -USR1 1; do :; done &
        waker=$!
    }
    wait "$waker"
    mapfile -t mounts < /proc/self/mountinfo
    [[ ${mounts[*]} != *//deleted* ]] || exit
done
"""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PIP_NO_INPUT": "1",
}


def container_config(spec: SandboxSpec, expires: float) -> dict[str, Any]:
    """The body of `POST /containers/create`: no network, no capabilities, nothing of the host, all bounded."""
    bounds = spec.bounds
    return {
        "Image": spec.image,
        "Entrypoint": ["/bin/bash", "-c", WATCH, str(int(spec.seconds))],
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
        "Hostname": "sandbox",
        "NetworkDisabled": not spec.network,
        "StopSignal": "SIGKILL",
        "Labels": {**{f"trajc.{k}": v for k, v in spec.labels.items()}, EXPIRES: str(int(expires))},
        "HostConfig": {
            "NetworkMode": "bridge" if spec.network else "none",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", "seccomp=" + orjson.dumps(profile()).decode()],
            "PidsLimit": bounds.processes,
            "Memory": bounds.memory_bytes,
            "MemorySwap": bounds.memory_bytes,
            "NanoCpus": int(bounds.cpus * 1e9),
            "ShmSize": bounds.shared_memory_bytes,
            "LogConfig": {"Type": "none"},
            "Init": False,
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": bounds.open_files, "Hard": bounds.open_files},
                {"Name": "fsize", "Soft": bounds.file_bytes, "Hard": bounds.file_bytes},
            ],
        },
    }
