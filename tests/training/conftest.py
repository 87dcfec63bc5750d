"""A tiny base with a character tokenizer, and a task of one-digit sums for it."""

from collections.abc import Sequence

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from yosegi import files
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.run import Run
from yosegi.tasks import Example, Score, Task
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings

CHARACTERS = "0123456789+=abcdefghij "


def characters():
    """A tokenizer of single characters."""
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *CHARACTERS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def tiny_base() -> Base:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = characters()
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=len(tokenizer),
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        max_position_embeddings=128,
    )
    return Base("tiny", "0123456789ab", LlamaForCausalLM(config).eval(), tokenizer)


def sums() -> list[Example]:
    return [Example(f"{i}+{j}", f"{i}+{j}=", str(i + j), (str(i + j),)) for i in range(10) for j in range(10)]


@pytest.fixture
def base() -> Base:
    return tiny_base()


def tiny_t5() -> Base:
    """An encoder-decoder with the same tokenizer."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = characters()
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    return Base("tiny-t5", "0123456789ab", T5ForConditionalGeneration(config).eval(), tokenizer)


class Sums(Task):
    """The share of the digits among what was written: something that any model can get better at."""

    name, max_new_tokens = "sums", 6

    def score(self, example, prediction):
        text = prediction.replace(" ", "")  # which the tokenizer puts between letters
        return Score(sum(c in "0123456789" for c in text) / max(len(text), 1), text)


def flat(expert: Expert) -> torch.Tensor:
    """All numbers of an expert in a row."""
    return torch.cat([t.flatten() for f in expert.factors.values() for t in (f.A_RI, f.B_OR)])


def train(
    base: Base, examples: Sequence[Example], name: str, run: Run, settings: Settings | None = None, task="", **options
) -> Expert:
    """A fleet of one."""
    return fleet(base, {name: examples}, run, settings, tasks={name: [task] if task else []}, **options)[0]


def rows_of(run: Run) -> list[dict]:
    """The metrics of a run."""
    return files.read_jsonl(run.path / "metrics.jsonl")
