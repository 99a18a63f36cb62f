"""The agent's edits as a patch against the base commit, whatever was done to the repository in the sandbox.

Root's copy of the base commit is what is compared with; its git directory, index, settings and attributes are not the
agent's.
"""

from envs.errors import EnvironmentFailure, SandboxError
from envs.swe.disk import speaks_of_full_disk
from envs.swe.gitdir import BASE_REPOSITORY
from envs.swe.sandbox import Sandbox

SETTINGS = "-c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.autocrlf=false -c core.quotePath=true"
PROGRAM = f"""
cd "$1" || exit 9
work=$(mktemp -d) || exit 7; trap 'rm -rf "$work"' EXIT
mkdir -p "$work/git/objects" && cp -r {BASE_REPOSITORY}/[!o]* "$work/git" || exit 7
[ "$2" = binary ] && attribute=-diff || attribute='!diff'
echo "* $attribute" >> "$work/git/info/attributes" || exit 7
export GIT_DIR="$work/git" GIT_WORK_TREE="$1" GIT_ALTERNATE_OBJECT_DIRECTORIES={BASE_REPOSITORY}/objects
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_OPTIONAL_LOCKS=0
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
said=$(git {SETTINGS} add -A --ignore-errors . 2>&1) || case "$said" in
  *"o space left"* | *"ut of diskspace"*) echo "$said"; exit 8;;
esac
git {SETTINGS} diff --cached --binary --no-ext-diff --no-textconv --no-color --no-renames \\
  --src-prefix=a/ --dst-prefix=b/ --ignore-submodules=all HEAD
"""
CLEAN = ["/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C.UTF-8"]


async def extract_patch(sandbox: Sandbox, workdir: str) -> tuple[str, str]:
    """The patch, and "" or the reason why it is not the whole of the edits (it is then empty).

    Raises `SandboxError`, and `EnvironmentFailure` where git itself could not work.
    """
    for how in ("text", "binary"):
        output = await sandbox.execute([*CLEAN, "/bin/bash", "-c", PROGRAM, "patch", workdir, how], 120)
        if output.left_out:
            size = len(output.data) + output.left_out
            return "", f"the patch would be {size} bytes long; remove the large files that were added"
        if output.ended != "exited":
            return "", "the patch could not be made in time; remove the large files that were added"
        if not output.ok:
            words = output.data.decode("utf-8", "replace").strip()[-400:]
            if output.code == 9:
                return "", f"{workdir} is gone"
            if speaks_of_full_disk(output.data):
                raise SandboxError("the disk below the sandbox is full: the edits cannot be read; free some space")
            if output.code == 7:
                return "", f"/tmp cannot be written ({words})"
            raise EnvironmentFailure(f"the patch could not be extracted (exit code {output.code}): {words}")
        try:
            return output.data.decode("utf-8"), ""
        except UnicodeDecodeError:
            # A text file in another encoding: written as a binary change, which is plain ASCII.
            continue
    raise EnvironmentFailure("the patch is not text even with every change written as binary")
