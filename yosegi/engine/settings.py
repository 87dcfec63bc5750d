"""How a base is asked: the flags that `generate` and `chat` share. What they mean to the engine stands at `request.Options`."""

from typing import Any

from pydantic import Field

from yosegi.bases import LoadSettings


class AskSettings(LoadSettings):
    """How the base is loaded, and how its answers are written."""

    system: str = Field(default="", json_schema_extra={"common": True})
    """A system message before every prompt."""
    task: str = ""
    """The task of the prompts, for routers that need it (oracle)."""
    max_new_tokens: int = Field(default=256, ge=1, json_schema_extra={"common": True})
    """The longest answer, in tokens."""
    temperature: float = Field(default=0.0, ge=0, json_schema_extra={"common": True})
    """0 takes the likeliest token; 1 samples the model as it is."""
    top_p: float = Field(default=1.0, gt=0, le=1, json_schema_extra={"common": True})
    """Sample from the likeliest tokens that together have this probability."""
    top_k: int = Field(default=0, ge=0, json_schema_extra={"common": True})
    """Sample from this many of the likeliest tokens; 0 for all."""
    seed: int = Field(default=0, json_schema_extra={"common": True})
    """Seed of the samples."""
    stop: list[str] = Field(default=[], json_schema_extra={"common": True})
    """A text that ends an answer. May be repeated."""

    @property
    def answering(self) -> dict[str, Any]:
        """The arguments of `Engine.generate` and `Engine.stream`, but for the seed."""
        return {
            name: getattr(self, name) for name in ("task", "max_new_tokens", "temperature", "top_p", "top_k", "stop")
        }
