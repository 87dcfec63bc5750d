"""nano: the base that comes with the package. A Llama of 0.8 M parameters that knows twenty short skills, some badly.

Hidden 128, 4 layers, 4 heads, tied embeddings, a tokenizer of words and characters; 1.6 MB in fp16. It adds, copies and
knows capitals; it can hardly reverse, sort or do a word problem, and learns each from a LoRA in seconds on one core.
Made by `yosegi run pretrain_nano`; the measured scores, the seed and the hash of the weights are in README.md here.
"""

from pathlib import Path


def folder() -> Path:
    """The model folder, for `AutoModelForCausalLM.from_pretrained(folder(), dtype=torch.float32)`; needs no network."""
    return Path(__file__).parent
