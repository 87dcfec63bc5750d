"""GGUF files as bases. transformers dequantises a file once; the folder it becomes is kept in the cache, under the file's sha256.

Tokenizer and chat template come from the file. Weights are kept in fp32, which holds every number of a quantised file exactly;
those of a file above LARGE in bf16, whose rounding is far below that of any quantisation.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from yosegi import files
from yosegi.errors import Corrupt
from yosegi.progress import bars_of_others

LARGE = 2 * 2**30


def cache() -> Path:
    """Returns the folder of the bases made on this machine: below $YOSEGI_CACHE, else ~/.cache/yosegi."""
    return Path(os.environ.get("YOSEGI_CACHE") or Path.home() / ".cache" / "yosegi") / "bases"


def folder_of(sha256: str) -> Path:
    """Returns where the model made of a file is kept, whether or not it is there."""
    return cache() / f"gguf-{sha256[:16]}"


def converted(file: Path, kinds: Sequence[Sequence[str]]) -> Path:
    """Returns the folder of the model that a file holds, which is made if it is not there yet.

    Args:
        file: a GGUF file.
        kinds: transformers' tables of architectures, for encoder-decoders and for decoders.

    Raises:
        Corrupt: it is no GGUF file, damaged, one of several, or of an architecture that transformers does not read.
    """
    with file.open("rb") as content:
        if content.read(4) != b"GGUF":
            raise Corrupt(f"{file} is no GGUF file.")
    if not (folder := folder_of(files.sha256(file))).is_dir():
        print(f"Making a base of {file.name}, once; it is kept in {folder}.", file=sys.stderr)
        try:
            with bars_of_others():
                model, tokenizer = _read(file, kinds)  # transformers draws a bar
        except Exception as error:  # whatever a damaged file makes of the libraries that read it
            words = str(error) if isinstance(error, Corrupt) else " ".join(str(error).split())[:300]
            raise Corrupt(f"{file} cannot be made into a base: {words or type(error).__name__}") from error
        with files.new_folder(folder) as new:
            model.save_pretrained(new)
            tokenizer.save_pretrained(new)
    return folder


def _read(file: Path, kinds: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    """The model and the tokenizer of a file. The model says nothing of having been quantised, or it could not be saved."""
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    source: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    config = transformers.AutoConfig.from_pretrained(**source)
    tables = [getattr(transformers, kind) for kind in kinds[0 if config.is_encoder_decoder else 1]]
    if (make := next((table[type(config)] for table in tables if type(config) in table), None)) is None:
        raise Corrupt(f"{config.model_type!r} is another kind of model.")
    dtype = torch.bfloat16 if file.stat().st_size > LARGE else torch.float32
    model, report = make.from_pretrained(**source, dtype=dtype, output_loading_info=True)
    if missing := sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}):
        raise Corrupt(f"its weights lack {', '.join(missing[:6])}; of a model in several files, join them first.")
    known = model.config.to_dict()
    plain = type(config).from_dict({key: known[key] for key in known if key != "quantization_config"})
    with torch.device("meta"):
        fresh = make(plain)
    fresh.load_state_dict(model.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.generation_config = model.generation_config
    return fresh, transformers.AutoTokenizer.from_pretrained(**source)
