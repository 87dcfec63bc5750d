"""What a body may hold: the fields of OpenAI's API, and four of ours: experts, routing, task and top_k.

A field that OpenAI knows and that changes nothing here is ignored. One that would change the answer and is not supported is
refused, and so is one that nobody knows: a misspelt `temperature` is not silently 1.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    field_validator,
    model_validator,
)

TOP = 20
"""The most likeliest tokens that are returned for one."""
IGNORED = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls",
    "reasoning_effort", "verbosity", "tool_choice", "function_call",
)  # fmt: skip
"""Fields of OpenAI's that change nothing here."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0,), "frequency_penalty": (0,), "logit_bias": ({},), "tools": ([],), "functions": ([],), "suffix": ("",),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (), "prediction": (), "web_search_options": (),
}  # fmt: skip
"""Fields of OpenAI's that are not supported, and the values of theirs that change nothing."""

Text = Annotated[str, StringConstraints(strict=True)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class StreamOptions(BaseModel):
    """How a stream is sent."""

    model_config = ConfigDict(extra="ignore")

    include_usage: StrictBool = False
    """Whether the last chunk says how many tokens there were."""


class Asked(BaseModel):
    """What completions and chats have in common."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    model: Text = Field(min_length=1, max_length=4096)
    """An arm: base, an expert, a kept arm, arrow{top_k=2}(a,b), merge:ties(a,b), a*.7+b*.3."""
    experts: dict[Text, Number] = Field(default={}, max_length=4096)
    """Experts with fixed weights, instead of a model other than the base."""
    routing: Literal["layers"] | StrictBool = False
    """Whether to return which experts were active when each token was written; "layers": in each layer, too."""
    task: Text = Field(default="", max_length=200)
    """The task of the prompt, for routers that are told it."""
    stream: StrictBool = False
    stream_options: StreamOptions = StreamOptions()
    n: StrictInt = Field(default=1, ge=1, le=128)
    stop: Text | Annotated[list[Text], Field(max_length=4)] = []
    temperature: Number = Field(default=1.0, ge=0, le=2)
    top_p: Number = Field(default=1.0, ge=0, le=1)
    top_k: StrictInt = Field(default=0, ge=-1, le=2**31)
    """Sample from so many of the likeliest tokens; 0 or -1 for all."""
    seed: StrictInt | None = Field(default=None, ge=-(2**63), lt=2**64)

    @model_validator(mode="before")
    @classmethod
    def _only_what_counts(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        kept = {name: value for name, value in body.items() if value is not None and name not in IGNORED}
        for name, same in NEUTRAL.items():
            if name in kept and kept.pop(name) not in same:
                raise ValueError(f"{name} is not supported here")
        return kept

    @field_validator("model", "stop", "task", "prompt", "messages", check_fields=False)
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        _check_text(value)
        return value

    @field_validator("stop")
    @classmethod
    def _is_short(cls, value: str | list[str]) -> list[str]:
        strings = [value] if isinstance(value, str) else value
        if not all(0 < len(string) <= 256 for string in strings):
            raise ValueError("a stop string has 1 to 256 characters")
        return strings

    @property
    def arm(self) -> str:
        """The model, or the experts, as text."""
        return self.model

    @property
    def sampling(self) -> dict[str, Any]:
        """The arguments of a Request."""
        return {
            "temperature": self.temperature, "top_p": max(self.top_p, 1e-6), "top_k": max(self.top_k, 0), "n": self.n,
        }  # fmt: skip


class CompletionBody(Asked):
    """The body of /v1/completions."""

    prompt: Text | list[StrictInt] | list[Text] | list[list[StrictInt]] = Field(union_mode="left_to_right")
    """A text, token ids, or several of either."""
    max_tokens: StrictInt = Field(default=16, ge=0, le=2**31)
    logprobs: StrictInt | None = Field(default=None, ge=0, le=TOP)
    echo: StrictBool = False
    best_of: StrictInt | None = Field(default=None, ge=1, le=128)

    @model_validator(mode="after")
    def _goes_together(self) -> "CompletionBody":
        if not self.prompt and isinstance(self.prompt, list):
            raise ValueError("prompt is empty")
        if isinstance(self.prompt, list) and len(self.prompt) > 2048 and not isinstance(self.prompt[0], int):
            raise ValueError("prompt: at most 2048 prompts")
        if self.best_of not in (None, self.n):
            raise ValueError("best_of is not supported here")
        if not self.max_tokens and not self.echo:
            raise ValueError("max_tokens is at least 1, or 0 with echo")
        return self

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, each a text or token ids."""
        given: Any = self.prompt
        return [given] if isinstance(given, str) or isinstance(given[0], int) else given


class Part(BaseModel):
    """A part of a message: a text."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A turn of a conversation."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[Part]

    @property
    def turn(self) -> dict[str, str]:
        """The turn, as a template takes it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatBody(Asked):
    """The body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=4096)
    max_tokens: StrictInt | None = Field(default=None, ge=1, le=2**31)
    max_completion_tokens: StrictInt | None = Field(default=None, ge=1, le=2**31)
    logprobs: StrictBool = False
    top_logprobs: StrictInt = Field(default=0, ge=0, le=TOP)

    @model_validator(mode="after")
    def _goes_together(self) -> "ChatBody":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        return self


class ExpertBody(BaseModel):
    """The body of POST /v1/experts."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(min_length=1, max_length=200)
    """An expert in the folder of the server's library."""


def _check_text(value: Any) -> None:
    """Refuses halves of surrogate pairs, which JSON can hold and no text can."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half a surrogate pair, which is no text") from None
    elif isinstance(value, list):
        for one in value:
            _check_text(one)
    elif isinstance(value, Message):
        _check_text(value.turn["content"])
