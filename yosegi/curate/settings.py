"""The settings of a curation."""

from pydantic import Field, model_validator

from yosegi.settings import CheckedSettings

FILTERS = ("lang", "min_chars", "max_chars", "near_duplicates", "grams")
"""The settings that drop a page before it is scored."""


class CurateSettings(CheckedSettings):
    """How a corpus is curated. Unknown names are refused."""

    score: list[str] = Field(default=[], json_schema_extra={"common": True})
    """Score of a page; may be repeated: length, keywords{words=words.txt}, labelled{path=labels.jsonl}, perplexity{base=B},
    classifier{model=ORG/MODEL,label=1}, … `yosegi ls scores` names them, `yosegi show` their arguments."""
    keep: list[str] = Field(default=[], json_schema_extra={"common": True})
    """The best share to keep, as in 0.3; with several scores NAME=0.3."""
    threshold: list[str] = Field(default=[], json_schema_extra={"common": True})
    """Number that the good side of a score must reach, or a range LOW..HIGH; with several scores NAME=2."""
    lang: list[str] = Field(default=[], json_schema_extra={"common": True})
    """Language that is kept, such as ja; may be repeated."""
    min_chars: int = Field(default=0, ge=0, json_schema_extra={"common": True})
    """Fewest characters of a page that is kept."""
    max_chars: int = Field(default=0, ge=0, json_schema_extra={"common": True})
    """Most characters of a page that is kept; 0 is no limit."""
    near_duplicates: float = Field(default=0.0, json_schema_extra={"common": True})
    """MinHash similarity from which a page is dropped as a near-duplicate, as in 0.8; 0 keeps all."""
    grams: int = Field(default=5, ge=1)
    """Characters of an n-gram for near-duplicates."""
    page_chars: int = Field(default=100_000, ge=1)
    """Most characters of a page that is cut from a text file."""
    encoding: str = "utf-8"
    """Encoding of text files: utf-8, cp932, euc_jp …"""
    validation: float = Field(default=0.05, ge=0, lt=1, json_schema_extra={"common": True})
    """Share of the kept pages whose split is validation."""

    @model_validator(mode="after")
    def _consistent(self) -> "CurateSettings":
        if (self.keep or self.threshold) and not self.score:
            raise ValueError("--keep and --threshold belong to a score: say --score as well")
        if self.max_chars and self.max_chars < self.min_chars:
            raise ValueError(f"min_chars={self.min_chars}, max_chars={self.max_chars}: no page is that long")
        return self
