"""yosegi: train many small LoRA experts, keep them in a library, let them answer together, and know whether it worked.

    import yosegi

    base = yosegi.load_base("nano")
    library = yosegi.Library("runs/demo/library", base.hash, base.name)
    answers = yosegi.Engine(base).generate(yosegi.Arm("arrow", library.load(), "arrow"), ["reverse abc:"])

Every public name is loaded when it is first used: `import yosegi` alone imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yosegi.bases import load as load_base
    from yosegi.core.expert import Expert
    from yosegi.engine.arm import Arm
    from yosegi.engine.engine import Engine
    from yosegi.evaluation.measure import evaluate
    from yosegi.exporting import export
    from yosegi.library.store import Library
    from yosegi.merges import merge
    from yosegi.reporting import report
    from yosegi.training.reinforce import reinforce
    from yosegi.training.train import train

__version__ = "0.1.0"

_HOMES = {
    "load_base": ("yosegi.bases", "load"),
    "Library": ("yosegi.library.store", "Library"),
    "Expert": ("yosegi.core.expert", "Expert"),
    "Arm": ("yosegi.engine.arm", "Arm"),
    "Engine": ("yosegi.engine.engine", "Engine"),
    "merge": ("yosegi.merges", "merge"),
    "evaluate": ("yosegi.evaluation.measure", "evaluate"),
    "export": ("yosegi.exporting", "export"),
    "report": ("yosegi.reporting", "report"),
    "train": ("yosegi.training.train", "train"),
    "reinforce": ("yosegi.training.reinforce", "reinforce"),
}

__all__ = [
    "load_base",
    "Library",
    "Expert",
    "Arm",
    "Engine",
    "train",
    "reinforce",
    "merge",
    "evaluate",
    "export",
    "report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'yosegi' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
