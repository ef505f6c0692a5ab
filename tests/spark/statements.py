"""Statements in Spark: a session for each, views over staged files, gates before the commit, cells as text.

It refuses to keep anything between two statements: USE, SET and temporary views end with the session.
"""

import base64
import json
import os
import re
import shutil
import threading
import time

from failures import with_public_names

CATALOG = "lakeward.testing.ThreeLevelCatalog"
# Their result is not a query's: Spark would plan it a second time.
COMMANDS = re.compile(r"\s*(describe|desc|show|explain)\b", re.I)
# Their text is the same by `cell`.
PLAIN = {"string", "byte", "short", "integer", "long", "boolean", "void"}


def quoted(*parts):
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts if part)


def cell(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return with_public_names(str(value))


class Statements:
    def __init__(self, spark, root, failures):
        self.spark, self.root, self.failures = spark, root, failures
        self.running, self.lock = set(), threading.Lock()

    def session(self, m):
        """A session like a Databricks statement's own. What is set at run time is not inherited: catalogs are set again."""
        session = self.spark.newSession()
        session.conf.set("spark.sql.ansi.enabled", "true")
        session.conf.set("spark.sql.session.timeZone", "UTC")
        for catalog in m.get("catalogs", []):
            key = f"spark.sql.catalog.{catalog}"
            session.conf.set(key, CATALOG)
            session.conf.set(f"{key}.tenant", m["tenant"])
            session.conf.set(f"{key}.root", f"{self.root}/tables/{m['tenant']}")
        if m.get("catalog"):
            session.sql("USE " + quoted(m["catalog"], m.get("schema")))
        return session

    def thread_settings(self, m, tag):
        context = self.spark.sparkContext
        for key, value in [
            ("lakeward.statement", tag),
            ("lakeward.gates", f"{self.root}/gates"),
            ("lakeward.gate", "closed" if m.get("gate") else None),
            ("lakeward.operation", m.get("operation")),
        ]:
            context.setLocalProperty(key, value)
        context.clearJobTags()
        if tag:
            # SparkSession.interruptTag does nothing in 4.2; tags of jobs work.
            context.addJobTag(tag)

    def execute(self, m):
        """{tag, tenant, catalogs, catalog?, schema?, sql, views?, gate?, operation?, analyze?}
        -> {columns, rows, commits}"""
        tag = m["tag"]
        with self.lock:
            self.running.add(tag)
        try:
            self.thread_settings(m, tag)
            session = self.session(m)
            self.views(session, m)
            frame = session.sql(m["sql"])
            columns = [{"name": f.name, "type": f.dataType.simpleString()} for f in frame.schema.fields]
            rows = [] if m.get("analyze") else self.rows(frame, m["sql"])
            return {"columns": columns, "rows": rows, "commits": self.commits(tag)}
        except Exception as error:  # every failure is an answer
            return self.failures.answer(error)
        finally:
            self.thread_settings({}, None)
            with self.lock:
                self.running.discard(tag)
            self.sweep(tag)

    def views(self, session, m):
        for view in m.get("views", []):
            # Names of staged files may hold [ or {, and are no patterns.
            reader = session.read.options(**view.get("options", {})).option("__globPaths__", "false")
            reader.parquet(*view["files"]).createOrReplaceTempView(view["name"])

    @staticmethod
    def rows(frame, sql):
        names = [f.name for f in frame.schema.fields]
        if not names:
            frame.collect()
            return []
        # Text is made by Spark's own casts, which cannot address two columns of one name and take a plan of their own.
        is_plain = all(f.dataType.typeName() in PLAIN for f in frame.schema.fields)
        if not is_plain and len(set(names)) == len(names) and not COMMANDS.match(sql):
            frame = frame.selectExpr(*[Statements.as_text(f) for f in frame.schema.fields])
        return [[cell(value) for value in row] for row in frame.collect()]

    @staticmethod
    def as_text(field):
        name = quoted(field.name)
        kind = field.dataType.typeName()
        if kind == "binary":
            return name
        return f"to_json({name}) AS {name}" if kind in ("variant", "map", "array", "struct") else f"CAST({name} AS STRING) AS {name}"

    def commits(self, tag):
        path = f"{self.root}/gates/{tag}.commits"
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as lines:
            infos = [json.loads(line)["commitInfo"] for line in lines]
        return [{"operation": i.get("operation"), "metrics": i.get("operationMetrics") or {}} for i in infos]

    def sweep(self, tag):
        for ending in ("commits", "waits", "verdict"):
            try:
                os.remove(f"{self.root}/gates/{tag}.{ending}")
            except FileNotFoundError:
                pass

    def await_gate(self, m):
        """{tag, seconds} -> {"waits": true} once the statement stands before its commit; false when it ended or the time did."""
        deadline, has_begun = time.monotonic() + m["seconds"], False
        while time.monotonic() < deadline:
            if os.path.exists(f"{self.root}/gates/{m['tag']}.waits"):
                return {"waits": True}
            is_running = m["tag"] in self.running
            if has_begun and not is_running:
                break
            has_begun = has_begun or is_running
            time.sleep(0.01)
        return {"waits": False}

    def open_gate(self, m):
        """{tag, verdict: "commit" or anything else} -> {}"""
        path = f"{self.root}/gates/{m['tag']}.verdict"
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(m["verdict"])
        os.replace(path + ".new", path)
        return {}

    def cancel(self, m):
        """{tag} -> {"was_running"}. What stands at its gate is refused there."""
        running = m["tag"] in self.running
        if running:
            self.open_gate({"tag": m["tag"], "verdict": "cancel"})
            threading.Thread(target=self.cancel_jobs, args=(m["tag"],), daemon=True).start()
        return {"was_running": running}

    def cancel_jobs(self, tag):
        """Spark cancels the jobs that it has, and a statement that is still planned has none yet. What has committed is left
        alone: its last jobs are no part of it any more."""
        while tag in self.running and not os.path.exists(f"{self.root}/gates/{tag}.commits"):
            self.spark.sparkContext.cancelJobsWithTag(tag)
            time.sleep(0.05)

    def describe(self, m):
        """{tenant, catalogs, table: [catalog, schema, name], detail} -> {columns}, and with detail {properties, comment, location, version}"""
        try:
            session = self.session(m)
            name = quoted(*m["table"])
            answer = {"columns": [self.column(f) for f in session.table(name).schema.fields]}
            if not m["detail"]:
                return answer
            detail = session.sql(f"DESCRIBE DETAIL {name}").collect()[0]
            newest = session.sql(f"DESCRIBE HISTORY {name} LIMIT 1").collect()[0]
            return answer | {
                "properties": dict(detail.properties or {}),
                "comment": detail.description,
                "location": detail.location,
                "version": newest.version,
            }
        except Exception as error:  # every failure is an answer
            return self.failures.answer(error)

    @staticmethod
    def column(field):
        declared = (field.metadata or {}).get("__CHAR_VARCHAR_TYPE_STRING")
        return {
            "name": field.name,
            "type": declared or field.dataType.simpleString(),
            "nullable": field.nullable,
            "comment": (field.metadata or {}).get("comment"),
        }

    def forget(self, m):
        """{tenant, catalogs} -> {}: drops what a double has made"""
        try:
            session = self.session(m)
            for catalog in m["catalogs"]:
                for row in session.sql(f"SHOW SCHEMAS IN {quoted(catalog)}").collect():
                    session.sql(f"DROP SCHEMA IF EXISTS {quoted(catalog, row[0])} CASCADE")
        except Exception as error:
            return self.failures.answer(error)
        shutil.rmtree(f"{self.root}/tables/{m['tenant']}", ignore_errors=True)
        return {}
