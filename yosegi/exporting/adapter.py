"""An expert as vLLM loads it: one rank of those it has room for, one scale, linears that it knows.

vLLM reads r and lora_alpha alone; patterns by layer are ignored there, which would be silently wrong. llama.cpp likewise has one
alpha for all layers. So ranks are padded with zeros, and scales that differ are multiplied into B.
"""

from dataclasses import replace

from yosegi.core.expert import Expert

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values of vLLM's --max-lora-rank."""
LINEARS = {
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj", "gate_up_proj", "out_proj",
    "fc1", "fc2", "query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "in_proj", "x_proj", "dt_proj",
}  # fmt: skip
"""The names of linears for which vLLM's models take adapters."""


def uniform(expert: Expert) -> Expert:
    """Returns the same deltas with one rank and one scale; the rank is the next that vLLM allows, if there is one."""
    scales = {f.scale for f in expert.factors.values()}
    if len(scales) > 1:
        factors = {layer: f._replace(B_OR=f.B_OR.float() * f.scale, scale=1.0) for layer, f in expert.factors.items()}
        expert = replace(expert, factors=factors)
    rank = next((rank for rank in RANKS if rank >= expert.rank), expert.rank)
    return expert if {f.rank for f in expert.factors.values()} == {rank} else expert.pad(rank)


def vllm_fault(expert: Expert) -> str | None:
    """Returns why vLLM would not load a uniform expert, in one line; None if it does."""
    if expert.rank > RANKS[-1]:
        return f"its rank is {expert.rank}, and vLLM takes at most {RANKS[-1]} (--rank cuts it)"
    endings = sorted({layer.rpartition(".")[2] for layer in expert.factors} - LINEARS)
    return f"vLLM takes no adapter for a linear called {endings[0]}" if endings else None
