"""The Modelfile of Ollama beside a GGUF file.

Ollama writes conversations by a Go template of its own. Most chat templates put every message between a beginning and an end that
depend on its role; where that is so, and only there, it can be said in Go, and it is checked on conversations. For any other
template none is written: Ollama then looks at the one in the GGUF file.
"""

import re
from typing import Any

from yosegi.bases import Base

ROLES = ("system", "user", "assistant")
TALKS = (["user"], ["user", "assistant", "user"], ["system", "user"], ["system", "user", "assistant", "user"])
MARK = "\u2983Message {}\u2984"


def modelfile(base: Base, file: str) -> str:
    """Returns the text of a Modelfile for a GGUF file in the same folder."""
    lines = [f"FROM ./{file}"]
    if (blocks := _blocks(base)) is not None:
        default, ends, opening = blocks
        cases = "{{ else if eq .Role ".join(
            f'"{role}" }}}}{before}{{{{ .Content }}}}{after}' for role, (before, after) in ends.items()
        )
        lines.append(
            f'TEMPLATE """{{{{ range .Messages }}}}{{{{ if eq .Role {cases}{{{{ end }}}}{{{{ end }}}}{opening}"""'
        )
        lines += [f'SYSTEM """{default}"""'] if default else []
    ids = getattr(getattr(base.model, "generation_config", None), "eos_token_id", None)
    numbers = {base.tokenizer.eos_token_id, *(ids if isinstance(ids, list) else [ids])} - {None}
    lines += [f'PARAMETER stop "{base.tokenizer.convert_ids_to_tokens(number)}"' for number in sorted(numbers)]
    return "\n".join(lines) + "\n"


def _blocks(base: Base) -> tuple[str, dict[str, tuple[str, str]], str] | None:
    """Returns the default system message, what stands before and after a message of each role, and what opens an answer."""
    if not base.chat_template:
        return None
    tokenizer: Any = base.tokenizer
    adds_bos = tokenizer.bos_token and tokenizer("a").input_ids[0] == tokenizer.bos_token_id

    def render(roles: list[str], opening: bool = True) -> str:
        talk = [{"role": role, "content": MARK.format(place)} for place, role in enumerate(roles)]
        text = tokenizer.apply_chat_template(
            talk, chat_template=base.chat_template, tokenize=False, add_generation_prompt=opening
        )
        return text.removeprefix(tokenizer.bos_token) if adds_bos else text

    try:
        before_system, between, after_user = _around(render(["system", "user"], opening=False), 2)
        _, _, before_assistant, after_assistant = _around(render(["system", "user", "assistant"], opening=False), 3)
        _, _, next_user, _ = _around(render(["user", "assistant", "user"], opening=False), 3)
        before_user = next_user.removeprefix(after_assistant)
        ends = {
            "system": (before_system, between.removesuffix(before_user)),
            "user": (before_user, after_user),
            "assistant": (before_assistant.removeprefix(after_user), after_assistant),
        }
        opening = render(["system", "user"]).rpartition(MARK.format(1) + after_user)[2]
        default = render(["user"]).partition(before_user + MARK.format(0))[0]
        default = default.removeprefix(before_system).removesuffix(ends["system"][1]) if default else ""
    except Exception:  # a template that refuses a role, or repeats or drops a message
        return None
    for roles in TALKS:
        given = ["system", *roles] if default and roles[0] != "system" else roles
        texts = [default] * (len(given) - len(roles)) + [MARK.format(place) for place in range(len(roles))]
        built = "".join(ends[role][0] + text + ends[role][1] for role, text in zip(given, texts, strict=True))
        if built + opening != render(roles):
            return None
    pieces = [default, opening, *(piece for pair in ends.values() for piece in pair)]
    return None if any("{{" in piece or '"""' in piece for piece in pieces) else (default, ends, opening)


def _around(text: str, count: int) -> list[str]:
    """Returns what stands before, between and after so many marks, each of which must be there once, in order."""
    parts = re.split("|".join(MARK.format(place) for place in range(count)), text)
    if len(parts) != count + 1 or text != "".join(
        a + b for a, b in zip(parts, [*map(MARK.format, range(count)), ""], strict=True)
    ):
        raise ValueError("the messages are not there as they are")
    return parts
