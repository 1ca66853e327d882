"""A page that is one file: style, data and scripts inside, nothing loaded, and nothing else allowed to run."""

import base64
import functools
import gzip
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

#: Scripts and data from this length on are packed; the browser unpacks them.
_PACKED_FROM = 100_000


def document(
    title: str,
    body: str,
    scripts: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    refresh: int | None = None,
    style: str = "",
) -> str:
    """One self-contained HTML page in the look of the report.

    Args:
        title: of the window; any text.
        body: markup, inside ``<main>``. Whoever makes it escapes the names in it.
        scripts: JavaScript sources, run in this order once body and data are there; the policy allows them by their
            hashes alone. Where one is long all are packed, so that plotly takes 2 MB instead of 5.
        data: values for JSON by the id under which a script finds them: ``document.getElementById(id).textContent``.
        refresh: seconds after which the page loads itself again; by default it does not.
        style: CSS beside the report's own.

    Returns:
        The page.

    Raises:
        ValueError: for NaN or infinities in ``data``, which JSON does not have.

    >>> text = document("A <title>", "<h1>Hello</h1>", scripts=["console.log(1)"], data={"numbers": [1, 2]})
    >>> "<title>A &lt;title&gt;</title>" in text, "default-src 'none'" in text
    (True, True)
    """
    packed = any(len(script) >= _PACKED_FROM for script in scripts)
    unpack = [asset("unpack.js")] if scripts or data else []
    plain = [*unpack, *([] if packed else scripts)]
    blocks = [_data_block(name, value) for name, value in (data or {}).items()]
    blocks += [_packed_script(script) for script in scripts if packed]
    blocks += [f"<script>{script}</script>" for script in plain]
    hashes = " ".join(_hash(script) for script in (*unpack, *scripts))
    policy = (
        f"default-src 'none'; {f'script-src {hashes}; ' if hashes else ''}style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    again = f'<meta http-equiv="refresh" content="{int(refresh)}">\n' if refresh else ""
    without = "<noscript><p>The figures need JavaScript; words and tables do not.</p></noscript>" if scripts else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{again}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>{asset("report.css")}{style}</style>
</head>
<body>
<a class="skip" href="#content">To the content</a>
<main id="content">
{without}{body}
</main>
{"".join(blocks)}
</body>
</html>
"""


def asset(name: str) -> str:
    """A file that ships beside the code, as text."""
    return resources.files("relujax.report").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _data_block(name: str, value: Any) -> str:
    # "<" is written as an escape, so that no text in it can end the block.
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    kind, text = ("data", _pack(text)) if len(text) >= _PACKED_FROM else ("", text)
    return f'<script type="application/json" id="{html.escape(name)}" data-packed="{kind}">{text}</script>\n'


@functools.lru_cache(maxsize=4)
def _packed_script(script: str) -> str:
    return f'<script type="text/plain" data-packed="script">{_pack(script)}</script>\n'


def _pack(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
