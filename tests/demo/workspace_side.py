"""The workspace's side of the Databricks demo, without lakeward: over the HTTP API, and by DuckDB from the tables' folders.

    workspace_side.py compare             counts and sums of both sides, one line a table; exit code 1 if one differs
    workspace_side.py sql SQL [COLUMN]... one statement, and these columns of its result
    workspace_side.py sent JOB            the statements of the job's newest run, from the query history
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "readers"), os.path.join(HERE, "..", "day_one")]
from compare import SUMS, is_same, source, target  # noqa: E402
from read_back import load_extension  # noqa: E402
from workspace import Workspace  # noqa: E402

import duckdb  # noqa: E402

SCHEMA = "main.shop"


def main():
    workspace = Workspace(*(os.environ[name] for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_WAREHOUSE_ID")))
    return {"compare": compare, "sql": sql, "sent": sent}[sys.argv[1]](workspace, *sys.argv[2:])


def good(workspace, text):
    told = workspace.run(text)
    if not told.is_good:
        sys.exit(f"{text.split()[0]} ended as {told.word()}")
    return told


def compare(workspace):
    # One statement for all tables: each costs a round trip, and on a real warehouse money.
    counts = " UNION ALL ".join(f"SELECT '{table}' AS name, count(*) AS n FROM {SCHEMA}.{table}" for table in SUMS)
    told = dict(good(workspace, counts).rows)
    connection = duckdb.connect()
    load_extension(connection, "delta")
    differ = 0
    print(f"  {'table':12} {'PostgreSQL':>12} {'the API':>10} {'DuckDB':>10} {'content':>9}")
    for table in SUMS:
        described = good(workspace, f"DESCRIBE TABLE EXTENDED {SCHEMA}.{table} AS JSON").rows[0][0]
        want, got = source(table), target(connection, json.loads(described)["location"], table)
        is_equal = is_same(want, got) and int(told[table]) == got[0]
        differ += not is_equal
        print(f"  {table:12} {int(want[0]):>12,} {int(told[table]):>10,} {got[0]:>10,} {'equal' if is_equal else 'DIFFERS':>9}")
    return 1 if differ else 0


def sql(workspace, text, *columns):
    told = good(workspace, text)
    for row in range(len(told.rows)):
        print("  " + "  ".join(f"{told.cell(column, row) or '':12}" for column in columns))
    return 0


def sent(workspace, job):
    history = workspace.ask("GET", "/api/2.0/sql/history/queries")[1]["res"]
    tagged = [(tags_of(entry), entry) for entry in history]
    ours = [(tags, entry) for tags, entry in tagged if tags.get("lakeward_job") == job]
    newest = max((tags["lakeward_run"] for tags, _ in ours), default=None)
    for tags, entry in reversed(ours):
        if tags["lakeward_run"] == newest:
            words = " ".join(entry["query_text"].split())
            print(f"  {tags.get('lakeward_step', ''):16} {entry['status']:10} {words[:100]}")
    return 0


def tags_of(entry):
    return {tag["key"]: tag.get("value") for tag in entry.get("query_tags") or []}


if __name__ == "__main__":
    sys.exit(main())
