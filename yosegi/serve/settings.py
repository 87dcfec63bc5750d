"""How a server runs: the flags of `yosegi serve`."""

from pydantic import Field, field_validator

from yosegi.bases import LoadSettings


class ServeSettings(LoadSettings):
    """How the base is loaded, who may ask, and how much."""

    host: str = Field(default="127.0.0.1", json_schema_extra={"common": True})
    """The address to listen at. Any but this machine's own needs --api-key or --open."""
    port: int = Field(default=8000, ge=0, le=65535, json_schema_extra={"common": True})
    """The port; 0 takes a free one and prints it."""
    api_key: list[str] = Field(default=[], json_schema_extra={"common": True})
    """A key that clients send as `Authorization: Bearer KEY`. May be repeated. $YOSEGI_API_KEY is one, too."""
    open: bool = False
    """Listen beyond this machine without a key."""
    allowed_host: list[str] = []
    """A name by which browsers may reach the server, besides localhost. May be repeated."""
    rows: int = Field(default=64, ge=1, le=4096, json_schema_extra={"common": True})
    """The most answers that are written at a time."""
    queue: int = Field(default=256, ge=0)
    """The most answers that wait; what comes after is told to come again (429)."""
    max_tokens: int = Field(default=512, ge=1, json_schema_extra={"common": True})
    """The length of a chat's answer that asks for none."""
    cache_gb: float = Field(default=4.0, gt=0)
    """The most memory of the cache of keys and values, in GB."""
    arms: int = Field(default=32, ge=1)
    """How many arms stay prepared; those that were not asked for longest go first."""
    experts: int = Field(default=256, ge=1)
    """The most experts of one arm that a client puts together."""
    merged: int = Field(default=16, ge=1)
    """The most experts of one merge that a client asks for: merging costs time and memory."""
    max_body: int = Field(default=4 * 2**20, ge=1024)
    """The most bytes of a request; above it the rest is not read (413)."""
    send_timeout: float = Field(default=30.0, gt=0)
    """Seconds in which a request has to arrive (408)."""
    timeout: float = Field(default=600.0, gt=0)
    """Seconds after which an answer that is not finished is given up (504)."""
    grace: float = Field(default=30.0, ge=0)
    """Seconds that answers have to finish after SIGTERM or Ctrl-C; then they end where they are."""
    watch: float = Field(default=2.0, ge=0)
    """Seconds between two looks at the library for experts that came, changed or went; 0 looks only when it is told to
    (POST /v1/experts, which needs a key)."""
    log_prompts: bool = False
    """Write what is asked into the log."""

    @field_validator("api_key")
    @classmethod
    def _is_a_key(cls, keys: list[str]) -> list[str]:
        if not all(key.strip() for key in keys):
            raise ValueError("a key is empty")
        return keys
