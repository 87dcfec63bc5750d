"""The playground at `/`: one page that talks to the server it came from and asks nobody else for anything.

Style and script are parts of the page, and its policy names them by their hashes: nothing that a model, an expert's name or a
card brings along can run. It holds no secret, so it needs no key; what it asks of the server does.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from fastapi.responses import HTMLResponse

from yosegi import registry

HERE = Path(__file__).parent
STYLES = (registry.HERE / "palette.css", HERE / "style.css")
SCRIPTS = ("elements", "server", "experts", "answer", "arms", "chat", "compare", "library", "start")
"""Parts of one script, in the order in which they run."""


async def playground() -> HTMLResponse:
    """Returns the page."""
    text, policy = _page()
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(text, headers=headers)


@cache
def _page() -> tuple[str, str]:
    """Returns the page and what it may do."""
    style = "".join(path.read_text(encoding="utf-8") for path in STYLES)
    script = "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    text = (HERE / "index.html").read_text(encoding="utf-8")
    text = text.replace("<style></style>", f"<style>{style}</style>").replace("></script>", f">{script}</script>")
    allowed = {
        "default-src": "'none'", "style-src": _hash(style), "script-src": _hash(script), "connect-src": "'self'",
        "img-src": "data:", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    return text, "; ".join(f"{what} {source}" for what, source in allowed.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
