#!/usr/bin/env bash
# Serve the small model in the foreground: serve.sh FOLDER PORT, as model `smollm2` on 127.0.0.1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 port=$2
export VLLM_TARGET_DEVICE=cpu VLLM_CPU_KVCACHE_SPACE=2 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
exec "$folder/venv/bin/python" -m vllm.entrypoints.openai.api_server \
    --model "$folder/model" --served-model-name smollm2 --host 127.0.0.1 --port "$port" \
    --max-model-len 8192 --max-num-seqs 8 --enforce-eager \
    --chat-template "$here/tools.jinja" --enable-auto-tool-choice --tool-call-parser hermes
