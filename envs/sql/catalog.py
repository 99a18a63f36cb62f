"""Where loaded databases lie and which there are: `ROOT/databases/NAME/VERSION.duckdb`, its manifest beside it.

A version never changes once it is written; the file `newest` names the one that a task without a version gets.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from envs.environment import Site
from envs.errors import TaskError
from envs.sql.manifest import Manifest, near

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Database:
    """One loaded version on disk."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.database

    @property
    def version(self) -> str:
        return self.manifest.version


def folder(site: Site) -> Path:
    return site.root / "databases"


def databases(site: Site) -> tuple[str, ...]:
    """Names of the loaded databases, sorted."""
    root = folder(site)
    if not root.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in root.iterdir() if (entry / "newest").is_file()))


def find_database(site: Site, name: str, version: str | None = None) -> Database:
    """The named version, or the newest. Raises `TaskError` that names what there is and the way out."""
    home = folder(site) / name
    if not NAME.fullmatch(name) or not (home / "newest").is_file():
        raise TaskError(_unknown(name, databases(site)), field="world.database")
    chosen = version or (home / "newest").read_text().strip()
    path = home / f"{chosen}.json"
    if not re.fullmatch(r"[0-9a-f]{64}", chosen) or not path.is_file():
        known = sorted(p.stem for p in home.glob("*.json"))
        words = f"database {name!r} has no version {chosen!r}; versions: {', '.join(known)}"
        raise TaskError(words, field="world.version")
    return Database(path=path.with_suffix(".duckdb"), manifest=_manifest(path))


@lru_cache(maxsize=256)
def _manifest(path: Path) -> Manifest:
    return Manifest.model_validate_json(path.read_bytes())


def _unknown(name: str, known: tuple[str, ...]) -> str:
    if not known:
        return f"unknown database {name!r}; none is loaded yet (`trajc tasks load-db NAME SOURCE` loads one)"
    close = near(name, known)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown database {name!r}{hint}; known: {', '.join(known)} (`trajc tasks load-db` loads another)"
