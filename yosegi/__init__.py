"""yosegi: train many small LoRA experts, keep them in a library, let them answer together, and know whether it worked."""

__version__ = "0.1.0"
