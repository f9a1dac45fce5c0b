"""The pages that browsers get beside the operations.

Their files are read once, at the start.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Swagger UI and ReDoc write styles into their markup; the page does not.
DOCS_POLICY = "default-src 'self'; img-src 'self' data:; font-src 'self' data:; style-src 'self' 'unsafe-inline'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'"
)
DOCS = (
    ("/docs", "swagger_ui", "static", ["swagger-ui-bundle.js", "swagger-ui.css"]),
    ("/redoc", "star_openapi_redoc", "templates/redoc/js", ["redoc.standalone.js"]),
)
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


class Asset:
    """A file that is sent from memory, gzipped for whoever takes that."""

    def __init__(self, data: bytes, kind: str, caching: str) -> None:
        self.data, self.gzipped, self.kind = data, gzip.compress(data, mtime=0), kind
        self.headers = {"cache-control": caching, "vary": "accept-encoding"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        takes_gzip = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        headers = self.headers | ({"content-encoding": "gzip"} if takes_gzip else {})
        response = Response(self.gzipped if takes_gzip else self.data, headers=headers, media_type=self.kind)
        await response(scope, receive, send)


class Page:
    """A page of HTML, with a policy of what it may load and who may frame it."""

    def __init__(self, html: str, policy: str) -> None:
        self.asset, self.policy = Asset(html.encode(), "text/html", "no-store"), policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = scope["state"]["frame_ancestors"]
        if not scope["state"]["path"].endswith("/") and scope["path"] == "/":
            # Behind a prefix without its slash: what the page asks for is relative to the folder that it is in.
            await RedirectResponse(f"{scope['state']['path'].rpartition('/')[2]}/")(scope, receive, send)
            return
        framing = " ".join(("'self'", *given)) if given else "'none'"
        policy = f"{self.policy}; frame-ancestors {framing}".encode()

        async def send_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"content-security-policy", policy)]}
            await send(message)

        await self.asset(scope, receive, send_policy)


def make_pages(folder: Path) -> dict[str, ASGIApp]:
    """Return the pages by path: our own, Swagger UI and ReDoc."""
    return make_own_page(folder) | make_docs(folder)


def make_own_page(folder: Path) -> dict[str, ASGIApp]:
    """Return the page at /, and its files below a path with their version.

    So browsers keep them for good, and never mix two versions. Modules of core/ are loaded at once, the others when
    they are needed.
    """
    paths = sorted((folder / "ui").rglob("*.*"))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    version = hashlib.sha256(b"".join(name.encode() + data for name, data in files.items())).hexdigest()[:12]
    root = f"ui/{version}"
    core = [name.removeprefix("ui/") for name in files if name.startswith("ui/core/")]
    preloads = "\n".join(f'<link rel="modulepreload" href="{root}/{name}">' for name in core)
    html = (folder / "index.html").read_text().replace("{root}", root).replace("{preloads}", preloads)
    assets = {
        f"/{root}/{name.removeprefix('ui/')}": Asset(data, KINDS[Path(name).suffix], FOREVER)
        for name, data in files.items()
    }
    return {"/": Page(html, PAGE_POLICY), **assets}


def make_docs(folder: Path) -> dict[str, ASGIApp]:
    """Return Swagger UI and ReDoc by path, from packages."""
    pages: dict[str, ASGIApp] = {}
    for path, package, inner, files in DOCS:
        name = path[1:]
        pages[path] = Page((folder / f"{name}.html").read_text(), DOCS_POLICY)
        pages[f"{path}/"] = RedirectResponse(f"../{name}")  # its own links are relative to the page
        pages[f"{path}/start.js"] = Asset((folder / f"{name}.js").read_bytes(), KINDS[".js"], "no-cache")
        assets = StaticFiles(packages=[(package, inner)])
        pages |= {f"{path}/{file}": functools.partial(serve_asset, assets, file) for file in files}
    return pages


async def serve_asset(files: StaticFiles, name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one file of a package."""
    await files({**scope, "path": f"/{name}"}, receive, send)
