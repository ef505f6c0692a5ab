"""What the service says and how it counts: transactions, HTTP, history, literals, keys, cost. The numbers are those of the double's switches.

It refuses to provoke: no flood of requests, no stop of a warehouse that others may use.
"""

import time
import urllib.parse
import uuid

from facts import Unknown, fact
from open_writes import ATTEMPTS_MAX, Tries, slow_copy, slow_rows
from workspace import Refused

MANAGED = "'delta.feature.catalogManaged' = 'supported'"
# A history that lags longer than this is of no use to anybody who waits for it.
HISTORY_SECONDS_MAX = 180


def transaction(session):
    """One for two facts: how it ended, and how many rows it wrote."""
    if "transaction" not in session.seen:
        table = session.table("id BIGINT", MANAGED)
        told = session.workspace.run(f"BEGIN ATOMIC INSERT INTO {table} VALUES (1); SELECT 7 AS seven; END;")
        session.seen["transaction"] = told, session.count(table)
    return session.seen["transaction"]


@fact("7a", "are BEGIN ATOMIC transactions switched on?", "atomic", 3, 20)
def atomic(session):
    told, rows = transaction(session)
    if told.is_good:
        return f"yes: {rows} row", "On"
    return f"no: {told.word()}", "PreviewOff" if "PREVIEW" in told.error_class else None


@fact("6b", "what does BEGIN ATOMIC … SELECT … END give back?", "atomic_result", 0, 0)
def atomic_result(session):
    told, _ = transaction(session)
    if not told.is_good:
        raise Unknown(f"it ended as {told.word()}")
    if "seven" in told.columns:
        return "the last statement's result", "Last"
    return f"columns {', '.join(told.columns)}" if told.columns else "nothing", "Empty"


def inside(session, body, parameters=()):
    """How a transaction ends that holds this; {t} is a catalog-managed table."""
    table = session.table("id BIGINT", MANAGED)
    told = session.workspace.run(f"BEGIN ATOMIC {body.replace('{t}', table)}; END;", parameters)
    return f"yes: {session.count(table)} rows" if told.is_good else f"no: {told.word()}"


@fact("7b", "may COPY INTO with a SELECT stand in a transaction?", None, 3, 20)
def atomic_copy(session):
    return inside(session, session.copy_sql("{t}", ["rows.parquet"])), None


@fact("7c", "may read_files stand in a transaction?", None, 3, 20)
def atomic_read_files(session):
    source = f"read_files('{session.folder}rows.parquet', format => 'parquet')"
    return inside(session, f"INSERT INTO {{t}} SELECT CAST(c0001 AS BIGINT) FROM {source}"), None


@fact("7d", "may parameters stand in a transaction?", None, 3, 15)
def atomic_parameters(session):
    return inside(session, "INSERT INTO {t} SELECT :n", [("n", "1", "BIGINT")]), None


@fact("7e", "what does on_wait_timeout = CANCEL leave of a transaction?", None, 4, 30)
def atomic_cancel(session):
    table = session.table("id BIGINT, v BIGINT", MANAGED)
    weight = Tries(session).weight
    body = f"INSERT INTO {table} VALUES (1, 0); INSERT INTO {table} {slow_rows(weight)};"
    told = session.workspace.submit(f"BEGIN ATOMIC {body} END;", wait="5s", on_timeout="CANCEL")
    told = session.workspace.finish(told)
    if told.is_good:
        raise Unknown("it ended before it could be cancelled")
    return f"{told.word()}; {session.count(table)} rows", None


@fact("8a", "the answer for a warehouse that is not there", None, 1, 0)
def no_warehouse(session):
    workspace = session.workspace
    body = {"statement": "SELECT 1", "warehouse_id": "0" * 16, "wait_timeout": "0s"}
    try:
        workspace.ask("POST", "/api/2.0/sql/statements", body)
    except Refused as refused:
        return str(refused), None
    raise Unknown("it was taken")


@fact("8b", "the answer for a statement that is not known", "unknown_statement_status", 1, 0)
def no_statement(session):
    # In the shape of an id; an expired one may be told otherwise, so one is kept for --ask.
    session.seen["kept"] = session.good("SELECT 1 AS one").id
    unknown = "01f0" + str(uuid.uuid4())[4:]
    try:
        told = session.workspace.poll(unknown)
    except Refused as refused:
        return f"{refused} (an expired one: --ask {session.seen['kept']} in more than an hour)", str(refused.status)
    return f"HTTP 200 {told.state}", "200"


@fact("8c", "how far behind is the query history, and has it our tags?", "history_lag", 8, 60)
def history(session):
    told = session.workspace.run("SELECT 2 AS two", tags=[("lakeward_run", session.nonce)])
    ended = time.monotonic()
    query = urllib.parse.urlencode({"filter_by.statement_ids": told.id})
    while time.monotonic() - ended < HISTORY_SECONDS_MAX:
        answer = session.workspace.ask("GET", f"/api/2.0/sql/history/queries?{query}")[1]
        for entry in answer.get("res") or []:
            if entry.get("query_id") == told.id and entry.get("status") == "FINISHED":
                lag = round(time.monotonic() - ended)
                tags = "with its tags" if session.nonce in str(entry.get("query_tags")) else "WITHOUT its tags"
                return f"{lag} s, {tags}", str(lag)
        time.sleep(1)
    return f"not within {HISTORY_SECONDS_MAX} s", "None"


@fact("8d", "what is left of a COPY INTO that was cancelled?", None, 8, 60)
def cancelled_copy(session):
    tries = Tries(session)
    for _ in range(ATTEMPTS_MAX):
        table = session.table("id BIGINT, v BIGINT")
        workspace = session.workspace
        running = workspace.submit(slow_copy(session, table, tries.weight))
        if workspace.is_running(running):
            time.sleep(tries.reading)
            workspace.cancel(running.id)
        end = workspace.finish(running)
        if end.is_good:
            tries.was_too_short(tries.reading)
            continue
        rows = session.count(table)
        later = session.loaded(table, ["slow.parquet"], select="CAST(c0001 AS BIGINT) AS id, 0L AS v")
        is_sound = (rows == 0) == (later > 0)
        return f"{end.word()}, {rows} rows; sent again it loads {later}: {'sound' if is_sound else 'NOT SOUND'} (one try)", None
    raise Unknown("it always ended before it could be cancelled")


@fact("8e", "rate limits, and what 429 says", None, 0, 0)
def busy(session):
    answers = session.workspace.busy_answers
    if not answers:
        raise Unknown(f"none of {session.workspace.statements} statements was refused, and none is provoked")
    status, again, text = answers[0]
    return f"{len(answers)} times; HTTP {status}, Retry-After {again}: {text}", None


@fact("8f", "where does the SQLSTATE of a failure stand?", "sqlstate", 1, 2)
def sqlstate(session):
    told = session.workspace.run("SELEC 1")
    if told.is_good or not told.sqlstate:
        raise Unknown(f"a syntax error ended as {told.word()}")
    return (f"status.sql_state: {told.word()}", "Field") if told.has_sqlstate_field else (told.word(), "MessageOnly")


@fact("8g", "is a good end told as SUCCEEDED or as CLOSED?", "closes_with_result", 1, 2)
def closed(session):
    told = session.good("SELECT 3 AS three")
    return told.state, "true" if told.state == "CLOSED" else "false"


@fact("9", "what is the literal 'it''s'?", "adjacent_literals", 1, 2)
def literal(session):
    value = session.value("SELECT 'it''s' AS text")
    kinds = {"its": "Concatenate", "it's": "EscapeQuote"}
    return value, kinds.get(value)


@fact("E", "may a key column hold NULL after DROP PRIMARY KEY?", None, 5, 20)
def primary_key(session):
    table = session.table("id BIGINT NOT NULL", key=", PRIMARY KEY (id)")
    relax = f"ALTER TABLE {table} ALTER COLUMN id DROP NOT NULL"
    with_key = session.workspace.run(relax)
    dropped = session.workspace.run(f"ALTER TABLE {table} DROP PRIMARY KEY IF EXISTS CASCADE")
    without_key = session.workspace.run(relax)
    words = [f"{what}: {told.word()}" for what, told in (("with the key", with_key), ("DROP", dropped), ("then", without_key))]
    return "; ".join(words), None


@fact("10a", "the warehouse: size, kind, auto-stop", None, 0, 0)
def warehouse(session):
    found = session.warehouse_was or {}
    if "state" not in found:
        raise Unknown(f"it cannot be looked at: {found.get('error')}")
    kind = "serverless" if found.get("enable_serverless_compute") else (found.get("warehouse_type") or "").lower()
    return f"{found.get('cluster_size')}, {kind}, stops after {found.get('auto_stop_mins')} min (the minimum: try it)", None


@fact("10b", "how long does a stopped warehouse take to start?", None, 0, 0)
def start(session):
    found = session.warehouse_was or {}
    if found.get("state") != "STOPPED":
        raise Unknown(f"it was {found.get('state', 'not to be seen')} when the script began; run it on a stopped one")
    return f"{session.seen['first_seconds']:.0f} s until the first statement had ended", None


@fact("10d", "the throughput of COPY INTO", None, 0, 0)
def throughput(_session):
    raise Unknown("it takes a gigabyte: look at the warehouse seconds of a real first load")


@fact("10e", "the price of a DBU", None, 1, 5)
def price(session):
    sql = (
        "SELECT concat_ws(' ', sku_name, CAST(pricing.default AS STRING), currency_code) AS price FROM system.billing.list_prices "
        "WHERE sku_name LIKE '%SERVERLESS_SQL%' AND price_end_time IS NULL ORDER BY 1 LIMIT 8"
    )
    told = session.workspace.run(sql)
    if not told.is_good or not told.rows:
        raise Unknown(f"system.billing.list_prices: {told.word()}")
    return "; ".join(row[0] for row in told.rows), None


@fact("11a", "is the open protocol of managed tables there (/delta/v1)?", None, 0, 0)
def delta_protocol(session):
    catalog = session.schema.split(".")[0]
    query = urllib.parse.urlencode({"catalog": catalog, "protocol-versions": "1.0"})
    try:
        session.workspace.ask("GET", f"/api/2.1/unity-catalog/delta/v1/config?{query}")
    except Refused as refused:
        return f"no: HTTP {refused.status} {refused.code or ''}".strip(), None
    return "yes: HTTP 200", None


@fact("11b", "do delta-rs and delta-kernel write catalog-managed tables?", None, 0, 0)
def delta_writers(_session):
    raise Unknown("it takes those libraries, which the standard library is not")
