"""From an example to the text that a base reads: the plain prompt as it is, or a conversation in the base's chat template.

    plain       Question: 1+1?\\nAnswer: 2
    template    <|im_start|>user\\nQuestion: 1+1?\\nAnswer:<|im_end|>\\n<|im_start|>assistant\\n2<|im_end|>

In a template the prompt is one turn of the user, worked examples are earlier turns, and a target loses its leading space and
brings the mark that ends a turn. Of an example with `messages` these are the turns; of several answers each is learnt, and
nothing else. A text without a prompt stays a text, and so does one that is to go on (`chat` is False). Stop strings that are
only spaces and newlines are dropped: the end of the turn stops.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from yosegi.bases import Base
from yosegi.errors import Invalid
from yosegi.tasks import Example

Message = Mapping[str, str]
Prompt = str | Example | Sequence[Message]
"""What a base is asked: a text, the question of an example, or a conversation that waits for an answer."""


class Rendered(NamedTuple):
    """What is read, and what is to be written after it.

    Args:
        prompt: a text.
        target: a text.
        ended: whether the target brings the mark that ends a turn.
        learnt: where earlier answers stand in the prompt, from and to which character.
    """

    prompt: str
    target: str
    ended: bool = False
    learnt: tuple[tuple[int, int], ...] = ()


class Template:
    """A chat template, with the tokenizer whose special tokens it names.

    Args:
        tokenizer: of the base.
        text: the template, as transformers has it (Jinja).
    """

    def __init__(self, tokenizer: Any, text: str):
        self.tokenizer, self.text = tokenizer, text

    def write(self, messages: Sequence[Message], answer: bool = True) -> str:
        """Returns a conversation as text; with `answer`, up to where the next answer begins.

        Raises:
            Invalid: the template does not take these turns.
        """
        turns = [dict(message) for message in messages]
        try:
            return self.tokenizer.apply_chat_template(
                turns, chat_template=self.text, tokenize=False, add_generation_prompt=answer
            )
        except Exception as error:  # Jinja's, and whatever a template makes of turns that it does not expect
            roles = ", ".join(str(turn.get("role")) for turn in turns)
            raise Invalid(
                f"The chat template does not take turns of {roles}: {' '.join(str(error).split())}."
            ) from error

    @cached_property
    def end(self) -> str:
        """What ends an answer: the text after it up to its first special token; "" where there is none."""
        answer = "An answer."
        rest = self.write([{"role": "user", "content": "A"}, {"role": "assistant", "content": answer}], False)
        rest = rest.rpartition(answer)[2]
        marks = [str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        places = [(rest.index(mark), -len(mark), mark) for mark in marks if mark in rest]
        return rest[: min(places)[0]] + min(places)[2] if places else ""

    @property
    def stop_ids(self) -> frozenset[int]:
        """The special token that ends an answer."""
        return frozenset(self.tokenizer(self.end, add_special_tokens=False).input_ids[-1:] if self.end else ())


def template_of(base: Base) -> Template | None:
    """Returns the chat template of a base; None where prompts are plain."""
    return _template(base.tokenizer, base.chat_template) if base.chat_template else None


@lru_cache(maxsize=4)
def _template(tokenizer: Any, text: str) -> Template:
    """Kept, since what ends an answer is worked out once."""
    return Template(tokenizer, text)


def render(example: Example, shots: Sequence[Example] = (), template: Template | None = None) -> Rendered:
    """Returns the prompt and the target of an example as text.

    Args:
        example: the question. Plainly, its `messages` take the place of a prompt and a target only where it has neither.
        shots: worked examples that are shown before it, in order; nothing of them is learnt.
        template: by default plain texts one after another, with an empty line between two examples.
    """
    if template is None or not (example.chat and (example.messages or example.prompt)):
        turns = () if example.prompt or example.target else example.messages
        texts = [message["content"] for message in turns]
        prompt, target = ("\n\n".join(texts[:-1]), texts[-1]) if texts else (example.prompt, example.target)
        return Rendered("\n\n".join([*(shot.prompt + shot.target for shot in shots), prompt]), target)
    shown, turns = [turn for shot in shots for turn in _turns(shot)], _turns(example)
    target = turns.pop()["content"] if turns[-1].get("role") == "assistant" else example.target
    prompt = template.write(before := [*shown, *turns])
    places = [n for n in range(len(shown), len(before)) if before[n].get("role") == "assistant"]
    learnt = tuple(_place(template, before, n, prompt) for n in places)
    return Rendered(prompt, target.lstrip() + template.end, bool(template.end), learnt)


def ask(base: Base, prompt: Prompt) -> str:
    """Returns the text after which the base is to answer."""
    template = template_of(base)
    if isinstance(prompt, str):
        prompt = Example("", prompt, "")
    if isinstance(prompt, Example):
        return render(prompt, (), template).prompt
    return template.write(prompt) if template else "".join(f"{message['content']}\n\n" for message in prompt)


def continuation(base: Base, example: Example, prompt: str | None, text: str) -> tuple[str | None, str]:
    """Returns the prompt of a candidate of an example and its text, as the base reads them. One without a prompt stays a text."""
    return (ask(base, prompt), text.lstrip()) if prompt and example.chat and base.chat_template else (prompt, text)


def plain(prompt: Prompt) -> str:
    """Returns what a router that looks at prompts is told of one: its text, without a template."""
    if isinstance(prompt, Example):
        return prompt.prompt
    return prompt if isinstance(prompt, str) else "\n\n".join(message["content"] for message in prompt)


def stop_strings(base: Base, strings: Sequence[str]) -> tuple[str, ...]:
    """Returns the stop strings that apply."""
    return tuple(string for string in strings if string.strip() or not base.chat_template)


def _turns(example: Example) -> list[Message]:
    question, answer = {"role": "user", "content": example.prompt}, {"role": "assistant", "content": example.target}
    return list[Message](example.messages or (question, answer))


def _place(template: Template, before: Sequence[Message], n: int, prompt: str) -> tuple[int, int]:
    """Where the answer of turn n stands in the prompt, with the mark that ends it."""
    start, content = len(head := template.write(before[:n])), before[n]["content"].strip()
    place = prompt.find(content, start) if prompt.startswith(head) else -1
    if place < 0:
        raise Invalid(
            "The chat template rewrites earlier turns, so what is learnt of them is unknown: keep the last turn."
        )
    end = place + len(content)
    return start, end + len(template.end) * prompt.startswith(template.end, end)
