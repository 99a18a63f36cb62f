#!/usr/bin/env bash
# Install trainers whose own loading code reads our formats, each in an environment of its own, without a GPU:
# install.sh FOLDER. Does nothing where they are already there.
set -euo pipefail
folder=$1
torch=2.13.0 trl=1.16.0 factory=0.9.5
stamp=$folder/ready-$torch-$trl-$factory
if [ -e "$stamp" ]; then exit 0; fi
rm -rf "$folder"
mkdir -p "$folder"

"${PYTHON:-python3}" -m venv "$folder/trl"
pip="$folder/trl/bin/pip --quiet"
$pip install "torch==$torch"
$pip install "trl==$trl"

"${PYTHON:-python3}" -m venv "$folder/llamafactory"
pip="$folder/llamafactory/bin/pip --quiet"
$pip install "torch==$torch"
# It asks for torchaudio and torchvision, which are built for one torch and for CUDA, and for a web page. Text needs
# none of that; of torchaudio, which is imported in any case, the part in Python is enough.
$pip download --no-deps --dest "$folder/wheels" "llamafactory==$factory"
"$folder/llamafactory/bin/python" - "$folder"/wheels/llamafactory*.whl > "$folder/requirements.txt" <<'PY'
import email
import re
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
left_out = {"torch", "torchaudio", "torchvision", "gradio", "uvicorn", "fastapi", "sse-starlette", "matplotlib", "av"}
for requirement in metadata.get_all("Requires-Dist"):
    package = re.split(r"[ \[=<>;!~]", requirement)[0].lower()
    if "extra ==" not in requirement and package not in left_out:
        print(requirement)
PY
$pip install -r "$folder/requirements.txt"
$pip install --no-deps "$folder"/wheels/llamafactory*.whl torchaudio==2.11.0
rm "$folder"/llamafactory/lib/python3*/site-packages/torchaudio/lib/*.so
rm -rf "$folder/wheels"
touch "$stamp"
