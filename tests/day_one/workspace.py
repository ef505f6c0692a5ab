"""A workspace over HTTP: statements of a SQL warehouse, files of a volume, and whatever else is asked by GET.

Only what the Statement Execution API documents is used. It refuses to send a statement twice: one whose answer was lost
may have run, and a fact that was measured twice is no fact. The token is in no text that leaves here (`redacted`).
"""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request

# What asks for a token is told that somebody of ours asked.
AGENT = "lakeward-day-one/1"
POLL_SECONDS = 0.5
# The longest a statement of the script may take: a warehouse that has to start, and a slow statement behind it.
STATEMENT_SECONDS_MAX = 900
BUSY = {"PENDING", "RUNNING"}


class Refused(Exception):
    """HTTP said no: the request, the credential or the service, never SQL."""

    def __init__(self, status, body, headers):
        self.status, self.headers = status, headers
        try:
            told = json.loads(body)
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        self.code, self.text = told.get("error_code"), str(told.get("message") or body[:200])
        super().__init__(f"HTTP {status} {self.code or ''}: {self.text}".strip())


class Told:
    """One answer about a statement."""

    def __init__(self, body):
        status = body.get("status") or {}
        self.id, self.state = body.get("statement_id"), status.get("state", "")
        self.message = (status.get("error") or {}).get("message") or ""
        found = re.search(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\]", self.message)
        self.error_class = found.group(1) if found else ""
        self.has_sqlstate_field = "sql_state" in status
        in_text = re.search(r"SQLSTATE: ([0-9A-Z]{5})", self.message)
        self.sqlstate = status.get("sql_state") or (in_text.group(1) if in_text else "")
        self.has_result = "manifest" in body
        columns = ((body.get("manifest") or {}).get("schema") or {}).get("columns") or []
        self.columns = [column.get("name") for column in columns]
        self.rows = (body.get("result") or {}).get("data_array") or []

    @property
    def is_busy(self):
        return self.state in BUSY

    @property
    def is_good(self):
        return self.state == "SUCCEEDED" or (self.state == "CLOSED" and self.has_result)

    def word(self):
        """`FAILED DELTA_METADATA_CHANGED (2D521)`: the class, never the text, which may quote data."""
        state = f"(SQLSTATE {self.sqlstate})" if self.sqlstate else ""
        return " ".join(part for part in (self.state, self.error_class, state) if part)

    def cell(self, column, row=0):
        if column not in self.columns or row >= len(self.rows):
            return None
        return self.rows[row][self.columns.index(column)]

    def count(self, column):
        value = self.cell(column)
        return int(value) if value is not None else None


class Workspace:
    def __init__(self, host, token, warehouse, secrets=()):
        self.url = (host if "://" in host else f"https://{host}").rstrip("/")
        self.warehouse, self.token = warehouse, token
        self.secrets = [secret for secret in (token, *secrets) if secret]
        self.statements, self.busy_answers, self.open = 0, [], set()

    def redacted(self, text):
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def as_other(self, token):
        """The same warehouse by another principal."""
        other = Workspace(self.url, token, self.warehouse, self.secrets)
        return other

    def ask(self, method, path, body=None, raw=None):
        """(status, parsed JSON). `raw` goes out as it is: the content of a file."""
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("User-Agent", AGENT)
        kind = "application/octet-stream" if raw is not None else "application/json"
        request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                text = answer.read().decode() or "{}"
                return answer.status, json.loads(text)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace"), error.headers) from None

    def submit(self, sql, parameters=(), wait="0s", on_timeout=None, tags=()):
        body = {"statement": sql, "warehouse_id": self.warehouse, "wait_timeout": wait}
        if on_timeout:
            body["on_wait_timeout"] = on_timeout
        if parameters:
            body["parameters"] = [{"name": name, "value": value, "type": kind} for name, value, kind in parameters]
        if tags:
            body["query_tags"] = [{"key": key, "value": value} for key, value in tags]
        for attempt in range(5):
            self.statements += 1
            try:
                told = Told(self.ask("POST", "/api/2.0/sql/statements", body)[1])
                if told.is_busy:
                    self.open.add(told.id)
                return told
            except Refused as refused:
                # 429 has not run; 503 has not if it says when to come again. Nothing else is sent twice.
                again = refused.headers.get("Retry-After")
                if refused.status != 429 and not (refused.status == 503 and again):
                    raise
                self.busy_answers.append((refused.status, again, refused.text))
                time.sleep(min(60, int(again)) if again and again.isdigit() else 2**attempt)
        raise RuntimeError("the workspace answered five times that it is busy")

    def poll(self, statement):
        told = Told(self.ask("GET", f"/api/2.0/sql/statements/{statement}")[1])
        if not told.is_busy:
            self.open.discard(statement)
        return told

    def finish(self, told):
        """Polls until it has ended."""
        deadline = time.monotonic() + STATEMENT_SECONDS_MAX
        while told.is_busy:
            if time.monotonic() > deadline:
                self.cancel(told.id)
                raise RuntimeError(f"a statement did not end within {STATEMENT_SECONDS_MAX} s and was cancelled")
            time.sleep(POLL_SECONDS)
            told = self.poll(told.id)
        return told

    def run(self, sql, parameters=(), tags=()):
        return self.finish(self.submit(sql, parameters, wait="30s", tags=tags))

    def is_running(self, told):
        """Waits until the warehouse works on it; false if it has ended by then."""
        deadline = time.monotonic() + STATEMENT_SECONDS_MAX
        while told.state == "PENDING" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 2)
            told = self.poll(told.id)
        return told.state == "RUNNING"

    def cancel(self, statement):
        self.ask("POST", f"/api/2.0/sql/statements/{statement}/cancel", {})

    def put_file(self, path, content):
        quoted = urllib.parse.quote(path)
        self.ask("PUT", f"/api/2.0/fs/files{quoted}?overwrite=true", raw=content)

    def delete_file(self, path):
        self.ask("DELETE", f"/api/2.0/fs/files{urllib.parse.quote(path)}")

    def delete_folder(self, path):
        self.ask("DELETE", f"/api/2.0/fs/directories{urllib.parse.quote(path)}")
