"""A local HTTP server that speaks the part of the Hugging Face Hub protocol that loading needs.

``huggingface_hub``, ``transformers`` and ``datasets`` talk to it when ``HF_ENDPOINT`` names it, so
that tests load models and data sets under their real names without a network.

A repository is a folder. Its ``main`` revision is ``<root>/models/<owner>/<name>`` or
``<root>/datasets/<owner>/<name>``; any other revision is the folder beside it whose name ends in
``@`` and the URL-quoted revision, such as ``conll2003@refs%2Fconvert%2Fparquet``
(:func:`repo_folder` builds these names). A revision's commit hash follows from its files.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self
from urllib.parse import parse_qs, quote, unquote

Kind = Literal["models", "datasets"]
PARQUET_REVISION = "refs/convert/parquet"
MOVED = {"conll2003": "eriktks/conll2003"}
_LFS_SUFFIXES = {".safetensors", ".bin", ".parquet"}


def repo_folder(root: Path, kind: Kind, repo_id: str, revision: str = "main") -> Path:
    """Return the folder below ``root`` that holds one revision of a repository."""
    suffix = "" if revision == "main" else "@" + quote(revision, safe="")
    return root / kind / (repo_id + suffix)


class _HubError(Exception):
    """An answer other than success, with the Hub's code for it."""

    def __init__(self, code: str, status: int = 404, **headers: str) -> None:
        super().__init__(code)
        self.status, self.headers = status, {"X-Error-Code": code, **headers}


def _sha1(data: bytes) -> str:
    """Return a hash in the form git uses for its objects."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@cache
def _digests(path: Path, _stamp: tuple[int, int]) -> tuple[str, str]:
    """Return a file's git blob hash and its SHA-256; the size and time stamp key the cache."""
    data = path.read_bytes()
    return _sha1(b"blob %d\0" % len(data) + data), hashlib.sha256(data).hexdigest()


def _file_entry(folder: Path, path: Path) -> dict[str, Any]:
    """Describe a file as a tree listing does, in Git LFS where the Hub would keep it there."""
    name, stat = path.relative_to(folder).as_posix(), path.stat()
    blob_id, sha256 = _digests(path, (stat.st_size, stat.st_mtime_ns))
    lfs = {"oid": sha256, "sha256": sha256, "size": stat.st_size, "pointerSize": 134}
    entry = {"type": "file", "path": name, "size": stat.st_size, "oid": blob_id}
    return entry | ({"lfs": lfs} if path.suffix in _LFS_SUFFIXES else {})


class _Revision:
    """One revision of a repository: its files by name, and the commit hash they give."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.files = {entry["path"]: entry for entry in (_file_entry(folder, p) for p in paths)}
        self.sha = _sha1(json.dumps([name, self.files]).encode())

    def siblings(self, blobs: bool) -> list[dict[str, Any]]:
        """List the files as a repository's information does, with their hashes if asked for."""
        keys = {"path": "rfilename", "size": "size", "oid": "blobId", "lfs": "lfs"}
        kept = [key for key in keys if blobs or key == "path"]
        return [{keys[k]: file[k] for k in kept if k in file} for file in self.files.values()]

    def entries(self) -> dict[str, dict[str, Any]]:
        """Map the paths of all files and folders to their tree entries."""
        parents = {path.as_posix() for name in self.files for path in PurePosixPath(name).parents}
        found = dict(self.files)
        for path in parents - {"."}:
            oid = _sha1(f"{self.sha} {path}".encode())
            found[path] = {"type": "directory", "path": path, "size": 0, "oid": oid}
        return dict(sorted(found.items()))

    def tree(self, folder: str, recursive: bool) -> list[dict[str, Any]]:
        """List the entries in a folder, or anywhere below it."""
        entries = self.entries()
        if folder and entries.get(folder, {}).get("type") != "directory":
            raise _HubError("EntryNotFound", 404, **{"X-Repo-Commit": self.sha})
        parents = {path: PurePosixPath(path).parents[: None if recursive else 1] for path in entries}
        return [entries[path] for path in entries if PurePosixPath(folder) in parents[path]]


class _Repo:
    """A repository on disk: its name and its revisions."""

    def __init__(self, root: Path, kind: Kind, repo_id: str) -> None:
        self.repo_id = repo_id
        self.revisions: list[_Revision] = []
        owner, _, name = repo_id.partition("/")
        for folder in sorted((root / kind / owner).glob(f"{name}*")):
            base, _, revision = folder.name.partition("@")
            if base == name:
                self.revisions.append(_Revision(unquote(revision) or "main", folder))
        if not self.revisions:
            raise _HubError("RepoNotFound")

    def revision(self, name: str) -> _Revision:
        """Return the revision with a name or a commit hash."""
        for revision in self.revisions:
            if name in (revision.name, revision.sha):
                return revision
        raise _HubError("RevisionNotFound")

    def info(self, revision: _Revision, blobs: bool) -> dict[str, Any]:
        """Describe the repository at a revision."""
        files = {"sha": revision.sha, "siblings": revision.siblings(blobs)}
        return {"id": self.repo_id, "private": False, "gated": False, "tags": [], **files}

    def refs(self) -> dict[str, Any]:
        """List the branches and the conversion references."""
        listed: dict[str, Any] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
        for revision in self.revisions:
            convert = revision.name.startswith("refs/convert/")
            ref = revision.name if convert else f"refs/heads/{revision.name}"
            entry = {"name": ref.split("/", 2)[2], "ref": ref, "targetCommit": revision.sha}
            listed["converts" if convert else "branches"].append(entry)
        return listed


def _split_revision(parts: list[str]) -> tuple[str, str]:
    """Split quoted URL segments into a revision and a path; ``refs/x/y`` may come unquoted."""
    length = 3 if parts[:1] == ["refs"] else 1
    names = [unquote(part) for part in parts]
    return "/".join(names[:length]) or "main", "/".join(names[length:])


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: HubServer

    def log_message(self, format: str, *args: object) -> None:
        """Keep the standard error stream clean."""

    def do_GET(self) -> None:
        """Answer a GET, HEAD or POST request."""
        self.server.requests.append(f"{self.command} {self.path}")
        form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path, _, query = self.path.partition("?")
        try:
            self._route(path.strip("/").split("/"), parse_qs(form or query))
        except _HubError as refusal:
            body = json.dumps({"error": str(refusal)}).encode()
            self._send(body, refusal.headers, refusal.status)

    do_HEAD = do_POST = do_GET

    def _route(self, parts: list[str], query: dict[str, list[str]]) -> None:
        """Find the repository a URL names and answer for it."""
        api = parts[0] == "api"
        rest = parts[1:] if api else parts
        kind: Kind = "datasets" if rest[:1] == ["datasets"] else "models"
        named = rest[1:] if rest[:1] in (["models"], ["datasets"]) else rest
        for length in (1, 2):
            if new := self.server.moved.get("/".join(named[:length])):
                location = "/".join(["", *parts[: -len(named)], new, *named[length:]])
                location += "".join(self.path.partition("?")[1:])
                raise _HubError("Moved", 307, Location=location)
        repo = _Repo(self.server.root, kind, "/".join(unquote(part) for part in named[:2]))
        if api:
            body = json.dumps(self._api(repo, named[2:], query)).encode()
            self._send(body, {"Content-Type": "application/json"})
        elif named[2:3] == ["resolve"]:
            self._file(repo, named[3:])
        else:
            raise _HubError("EntryNotFound")

    def _api(self, repo: _Repo, parts: list[str], query: dict[str, list[str]]) -> object:
        """Return the answer of an API route below a repository."""
        action = parts[0] if parts else "revision"
        if action == "refs":
            return repo.refs()
        name, path = _split_revision(parts[1:])
        revision = repo.revision(name)
        if action == "revision":
            return repo.info(revision, blobs="blobs" in query)
        if action == "tree":
            return revision.tree(path, query.get("recursive") == ["true"])
        if action == "paths-info":
            return [entry for key, entry in revision.entries().items() if key in query["paths"]]
        raise _HubError("EntryNotFound")

    def _file(self, repo: _Repo, parts: list[str]) -> None:
        """Send a file, or the part of it that a Range header asks for."""
        name, path = _split_revision(parts)
        revision = repo.revision(name)
        headers = {"X-Repo-Commit": revision.sha, "Accept-Ranges": "bytes"}
        file = revision.files.get(path)
        if file is None:
            raise _HubError("EntryNotFound", 404, **headers)
        headers["ETag"] = f'"{file.get("lfs", file)["oid"]}"'
        data, status = (revision.folder / path).read_bytes(), 200
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(data)) + 1, len(data))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            data, status = data[start:stop], 206
        self._send(data, headers, status)

    def _send(self, body: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        """Send a response; a HEAD request gets its headers alone."""
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class HubServer(ThreadingHTTPServer):
    """Serves the repositories below ``root`` while its ``with`` block runs.

    ``endpoint`` is the value for ``HF_ENDPOINT``. ``requests`` lists what clients asked for, each
    as ``"METHOD path"``. ``moved`` maps old repository names to new ones; a request for an old name
    is redirected with status 307.
    """

    def __init__(self, root: Path, moved: Mapping[str, str] = MOVED) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.moved = root, moved
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        """Start to answer requests."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop and close the socket."""
        self.shutdown()
        self.server_close()
