"""Local: a model on this machine labels the questions, without an endpoint.

A teacher of LoRA-PAR, Huang et al. 2025, arXiv:2507.20999, is any model that can judge. Answers are stored like an
endpoint's, under the hash of the weights. Their tokens are not counted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from yosegi.bases import Base, load
from yosegi.engine.generate import generate
from yosegi.engine.rows import context_length
from yosegi.engine.spec import parse_arm
from yosegi.errors import Invalid
from yosegi.library.card import check_base
from yosegi.library.store import Library
from yosegi.progress import Bar
from yosegi.teachers._kept import Answer, AskingTeacher, Chat, Kept


class Local(AskingTeacher):
    """Args:
    base: the model, by name or loaded.
    library: the folder of experts that `arm` names.
    arm: a way to answer, as `eval` has them: an expert, arrow, merge:svd; by default the base alone.
    max_tokens: the most tokens of an answer; at most a quarter of the context, as the question needs the rest.
    batch_size: chats per batch; a kill loses at most one batch.
    answers: the file of answers.
    chat_template: auto (the base's, if it has one), none, or a file.
    """

    def __init__(
        self,
        base: str | Base,
        *,
        library: str | None = None,
        arm: str = "base",
        max_tokens: int = 2048,
        batch_size: int = 16,
        answers: Path | None = None,
        chat_template: str = "auto",
    ):
        super().__init__()
        if batch_size < 1:
            raise Invalid(f"batch_size={batch_size}: it must be at least 1.")
        self.base = load(base, chat_template=chat_template) if isinstance(base, str) else base
        self.max_tokens = min(max_tokens, context_length(self.base) // 4)
        self.batch_size, self.kept = batch_size, Kept(answers)
        self.arm = parse_arm(arm, None if library is None else Library(library))
        for expert in self.arm.experts:
            check_base(expert, self.base.name, self.base.hash)
        plain = arm == "base"
        read = [*self.base.reads.values(), *([] if plain else [self.arm.fingerprint()])]
        self.name = f"local/{self.base.name}" + ("" if plain else f" {arm}")
        self.hash = " ".join([self.base.hash, str(self.max_tokens), *read])

    def about(self) -> dict[str, object]:
        """Returns the model by its hash."""
        return {"name": self.name, "hash": self.hash}

    def write(self, chats: Sequence[Chat]) -> list[str]:
        """Returns the model's answer to each chat, in its own template if it has one."""
        with self.arm.attached(self.base) as banks:
            known = self.arm.known(self.base, banks, "", [one[-1]["content"] for one in chats])
            made = generate(self.base, chats, banks=banks, known=known, max_new_tokens=self.max_tokens)
        return [answer.text for answer in made]

    def ask(self, missing: Mapping[str, Chat], bar: Bar) -> None:
        """Generates batch by batch."""
        keys = list(missing)
        for start in range(0, len(keys), self.batch_size):
            batch = keys[start : start + self.batch_size]
            for k, text in zip(batch, self.write([missing[k] for k in batch]), strict=True):
                self.kept.add(k, Answer(text))
            self.spent["requests"] += len(batch)
            bar.advance(len(batch))
