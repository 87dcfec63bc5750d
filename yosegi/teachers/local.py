"""Local: a model on this machine labels the questions, with no endpoint between.

A teacher of LoRA-PAR, Huang et al. 2025, arXiv:2507.20999, is any model that can judge. Answers are kept like an endpoint's,
under the hash of the weights.
"""

from collections.abc import Sequence
from pathlib import Path

from yosegi.bases import Base, load
from yosegi.engine.generate import generate
from yosegi.engine.rows import context_length
from yosegi.errors import Invalid
from yosegi.progress import progress
from yosegi.tasks import Example
from yosegi.teachers import Question, Teacher, Vote
from yosegi.teachers._answers import chat, read
from yosegi.teachers._kept import Answer, Kept, key


class Local(Teacher):
    """Args:
    base: the model, by name or loaded.
    max_tokens: most tokens of an answer; at most a quarter of what the model can look at, the rest is for the question.
    batch_size: chats at a time, and so the most that a kill can lose.
    answers: the file of answers.
    """

    def __init__(self, base: str | Base, *, max_tokens: int = 2048, batch_size: int = 16, answers: Path | None = None):
        super().__init__()
        if batch_size < 1:
            raise Invalid(f"batch_size={batch_size}: it is at least 1.")
        self.base = load(base) if isinstance(base, str) else base
        self.max_tokens = min(max_tokens, context_length(self.base) // 4)
        self.batch_size, self.kept = batch_size, Kept(answers)
        self.name, self.hash = f"local/{self.base.name}", f"{self.base.hash} {self.max_tokens}"

    def write(self, chats: Sequence[list[dict[str, str]]]) -> list[str]:
        """Returns what the model writes after each chat, in its own template if it has one."""
        tokenizer = self.base.tokenizer
        if getattr(tokenizer, "chat_template", None):
            prompts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
        else:
            prompts = ["\n\n".join(turn["content"] for turn in c) + "\n\n" for c in chats]
        return [answer.text for answer in generate(self.base, prompts, max_new_tokens=self.max_tokens)]

    def about(self) -> dict[str, object]:
        """The model by its hash."""
        return {"name": self.name, "hash": self.hash}

    def label(self, examples: Sequence[Example], question: Question) -> list[Vote]:
        """Generate what is not known yet, read all answers. Tokens of a model of one's own are not counted."""
        self.spent.clear()
        self.kept.load()
        chats = [chat(example, question) for example in examples]
        keys = [key(local=self.base.name, hash=self.hash, messages=c) for c in chats]
        missing = {k: c for k, c in zip(keys, chats, strict=True) if k not in self.kept.answers}
        if missing:
            waiting = list(missing.items())
            with progress(self.name, len(waiting)) as bar:
                for start in range(0, len(waiting), self.batch_size):
                    some = waiting[start : start + self.batch_size]
                    texts = self.write([c for _, c in some])
                    for (k, _), text in zip(some, texts, strict=True):
                        self.kept.add(k, Answer(text))
                    self.spent["requests"] += len(some)
                    bar.advance(len(some))
        return [read(self.kept.answers[k].text, len(question.systems)) for k in keys]
