"""What a user types first: install into a clean environment, ask for help, ask what is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.needs("network")
@pytest.mark.timeout(900)
def test_the_project_installs_into_a_clean_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"
    # What git tracks, as a fresh clone has it: a file that is only in this folder must not be what makes it work.
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", source], check=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    bin = tmp_path / "venv" / "bin"
    subprocess.run([bin / "pip", "install", "--quiet", source], check=True)

    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TRAJC_", "PYTHON"))}
    environ |= {"TRAJC_HOME": str(tmp_path / "home")}
    said = subprocess.run(
        [bin / "trajc", "--help"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for command in ("serve", "run", "compile", "pull", "verify", "oracle", "doctor"):
        assert f" {command} " in said.stdout
    doctor = subprocess.run(
        [bin / "trajc", "doctor", "--json"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    findings = {f["what"]: f["state"] for f in json.loads(doctor.stdout)}
    assert findings["python"] == findings["home"] == "ok"
    assert doctor.returncode == (1 if "missing" in findings.values() else 0)


def test_doctor_without_a_docker_engine_is_a_sentence_and_no_stack_trace(tmp_path: Path) -> None:
    environ = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock", "TRAJC_HOME": str(tmp_path)}
    command = [Path(sys.executable).parent / "trajc", "doctor"]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "no Docker engine answers" in said.stdout
    assert "Traceback" not in said.stdout + said.stderr
