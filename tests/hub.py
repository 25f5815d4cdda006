"""A stand-in of the Hugging Face Hub: what its client asks over HTTP.

One model repository at a time, on a free local port; no git, no LFS store.
A file that the client wants to store is taken as it comes.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_the_reader"


class Hub(BaseHTTPRequestHandler):
    """Answers from `repositories`, a dictionary of bytes by path by name."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def answer(self, content=b"", status=200, **headers) -> None:
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers["Content-Type"] = "application/json"
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(content)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, kind="RepoNotFound") -> None:
        self.answer({"error": kind}, 404, X_Error_Code=kind)

    @property
    def hub(self):
        return self.server

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_PUT(self) -> None:
        content = self.body()
        self.hub.blobs[hashlib.sha256(content).hexdigest()] = content
        self.answer()

    def do_POST(self) -> None:
        content = self.body()
        path = self.path.partition("?")[0]
        if path == "/api/validate-yaml":
            self.answer({"warnings": [], "errors": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "no token"}, 401)
        elif path == "/api/repos/create":
            given = json.loads(content)
            name = f"{given.get('organization') or 'ada'}/{given['name']}"
            self.hub.repositories.setdefault(name, {})
            self.answer({"url": f"{self.hub.url}/{name}", "id": name})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            files = json.loads(content)["files"]
            large = [f["path"].endswith(("rs", "as")) for f in files]
            modes = [("regular", "lfs")[is_large] for is_large in large]
            self.answer(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": mode,
                            "shouldIgnore": False,
                            "oid": None,
                        }
                        for file, mode in zip(files, modes, strict=True)
                    ]
                }
            )
        elif path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(content)["objects"]
            upload = {"href": f"{self.hub.url}/blob", "header": {}}
            objects = [{**x, "actions": {"upload": upload}} for x in wanted]
            self.answer({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self.commit(match[1], content.decode().splitlines())
        else:
            self.missing()

    def commit(self, name: str, lines: list[str]) -> None:
        files = self.hub.repositories[name]
        for line in map(json.loads, lines):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        url = f"{self.hub.url}/{name}/commit/{self.hub.sha}"
        oid = {"commitOid": self.hub.sha, "commitUrl": url}
        self.answer({"success": True, "hookOutput": "", **oid})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(path)
        if path == "/api/whoami-v2":
            self.answer({"name": "ada", "type": "user", "orgs": []})
            return
        parts = path.removeprefix("/api/models").split("/")
        name = "/".join(parts[1:3])
        if name not in self.hub.repositories:
            self.missing()
            return
        files = self.hub.repositories[name]
        listed = [
            {
                "type": "file",
                "path": path,
                "rfilename": path,
                "size": len(content),
                "oid": hashlib.sha1(content).hexdigest(),
            }
            for path, content in sorted(files.items())
        ]
        what, revision = (*parts[3:5], "main", "main")[:2]
        if revision not in ("main", self.hub.sha):
            self.missing("RevisionNotFound")
        elif what == "resolve":
            file = "/".join(parts[5:])
            if file not in files:
                self.missing("EntryNotFound")
                return
            digest = hashlib.sha256(files[file]).hexdigest()
            etag = {"ETag": f'"{digest}"', "X_Repo_Commit": self.hub.sha}
            self.answer(files[file], **etag)
        elif what == "tree":
            self.answer(listed)
        else:
            self.answer({"id": name, "sha": self.hub.sha, "siblings": listed})


@contextmanager
def serve_hub() -> Iterator[ThreadingHTTPServer]:
    """A Hub that runs.

    Yields:
        The server; its `url`, its `repositories` (files by repository), and
        the paths that it was `asked` for.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        server.sha = "5ca1ab1e" * 5
        server.repositories, server.blobs, server.asked = {}, {}, []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
