"""A hub on this machine: the few requests of huggingface-hub's client, answered from memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Files = dict[str, bytes]


class Hub:
    """Repositories with one branch; each commit keeps all files."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[tuple[str, Files]]] = {}  # commits, the newest last
        self.requests: list[str] = []

    def commit(self, repository: str, changes: Files) -> str:
        """Add a commit and return its hash."""
        commits = self.repositories[repository]
        files = {**(commits[-1][1] if commits else {}), **changes}
        digest = hashlib.sha1(repr((len(commits), sorted(files.items()))).encode()).hexdigest()
        commits.append((digest, files))
        return digest

    def at(self, repository: str, revision: str) -> tuple[str, Files] | None:
        """Return a commit by its hash, or the newest of the branch."""
        commits = self.repositories.get(repository, [])
        if revision == "main":
            return commits[-1] if commits else None
        return next((commit for commit in commits if commit[0] == revision), None)


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve a hub and give its address."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def log_message(self, *arguments: Any) -> None:
        pass

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, f"{self.command} {path}")
            if found:
                answer(self, body, **found.groupdict())
                return
        self._missing("EntryNotFound")

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str) -> None:
        self._send(b"{}", {"X-Error-Code": code, "X-Error-Message": "not here"}, status=404)

    def _send(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def create(self, body: bytes) -> None:
        wanted = json.loads(body)
        repository = "/".join(filter(None, [wanted.get("organization"), wanted["name"]]))
        self.hub.repositories.setdefault(repository, [])
        address = f"http://{self.headers['Host']}/{repository}"
        self._json({"url": address, "name": repository, "id": repository})

    def validate(self, body: bytes) -> None:
        assert json.loads(body)["content"].startswith("---")
        self._json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, repository: str) -> None:
        files = json.loads(body)["files"]
        modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
        self._json({"files": modes})

    def commit(self, body: bytes, repository: str) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        changes = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        digest = self.hub.commit(repository, changes)
        address = f"http://{self.headers['Host']}/{repository}/commit/{digest}"
        self._json({"success": True, "commitOid": digest, "commitUrl": address})

    def info(self, body: bytes, repository: str, revision: str = "main") -> None:
        if repository not in self.hub.repositories:
            self._missing("RepoNotFound")
        elif (found := self.hub.at(repository, revision)) is None:
            self._missing("RevisionNotFound")
        else:
            siblings = [{"rfilename": name} for name in found[1]]
            self._json({"id": repository, "sha": found[0], "siblings": siblings, "private": False})

    def tree(self, body: bytes, repository: str, revision: str) -> None:
        found = self.hub.at(repository, revision)
        assert found and "recursive" in parse_qs(urlsplit(self.path).query)
        self._json(
            [
                {"type": "file", "path": p, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for p, c in found[1].items()
            ]
        )

    def resolve(self, body: bytes, repository: str, revision: str, name: str) -> None:
        found = self.hub.at(repository, revision)
        if found is None or name not in found[1]:
            self._missing("EntryNotFound")
            return
        content = found[1][name]
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._send(content, {"ETag": tag, "X-Repo-Commit": found[0]})


_REPOSITORY = r"(?P<repository>[\w.-]+/[\w.-]+)"
_ROUTES: list[tuple[str, Any]] = [
    ("POST /api/repos/create", _Handler.create),
    ("POST /api/validate-yaml", _Handler.validate),
    (f"POST /api/models/{_REPOSITORY}/preupload/main", _Handler.preupload),
    (f"POST /api/models/{_REPOSITORY}/commit/main", _Handler.commit),
    (f"GET /api/models/{_REPOSITORY}", _Handler.info),
    (rf"GET /api/models/{_REPOSITORY}/revision/(?P<revision>[\w.-]+)", _Handler.info),
    (rf"GET /api/models/{_REPOSITORY}/tree/(?P<revision>\w+)/?", _Handler.tree),
    (rf"(?:GET|HEAD) /{_REPOSITORY}/resolve/(?P<revision>\w+)/(?P<name>.+)", _Handler.resolve),
]
