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


def one_ledger_row(session, giving_up):
    """How two writes end that meet in a row of a run ledger, each rendered as the loader does; the first is a slow transaction."""
    tries, workspace = Tries(session), session.workspace
    for _ in range(ATTEMPTS_MAX):
        ledger = session.table("run STRING, state STRING", f"{MANAGED}, 'delta.enableDeletionVectors' = 'true'")
        table = session.table("id BIGINT, v BIGINT", MANAGED)
        session.good(f"INSERT INTO {ledger} VALUES ('r', 'open')")

        def put_down(state, ledger=ledger):
            return (
                f"MERGE INTO {ledger} AS l USING (SELECT 'r' AS run) AS s ON l.run = s.run WHEN MATCHED THEN UPDATE SET state = '{state}' "
                f"WHEN NOT MATCHED THEN INSERT (run, state) VALUES (s.run, '{state}')"
            )

        first = f"BEGIN ATOMIC {put_down('loaded')}; INSERT INTO {table} {slow_rows(tries.weight)}; END;"
        second = f"BEGIN ATOMIC {put_down('again')}; INSERT INTO {table} VALUES (-1, 0); END;"
        began = time.monotonic()
        running = workspace.submit(first)
        if workspace.is_running(running):
            time.sleep(tries.reading)
            running = workspace.poll(running.id)
        if not running.is_busy:
            if not running.is_good:
                raise Unknown(f"the slow transaction itself ended as {running.word()}")
            tries.was_too_short(time.monotonic() - began)
            continue
        quick = workspace.run(put_down("given up") if giving_up else second)
        slow = workspace.finish(workspace.poll(running.id))
        seen = f"the slow one {slow.word()}, the quick one {quick.word()}"
        if not (slow.is_good or quick.is_good):
            raise Unknown(f"neither did: {seen}")
        if not (slow.is_good and quick.is_good):
            return f"no: {seen}; {session.count(table)} rows were loaded"
        return f"{order_of_two(session, ledger)}: {seen}; the row says {session.value(f'SELECT state FROM {ledger}')}"
    raise Unknown("no transaction was open for long enough")


def order_of_two(session, table):
    """Whether the newest write had seen the one before it."""
    history = session.good(f"DESCRIBE HISTORY {table} LIMIT 2")
    read, other = history.cell("readVersion"), history.cell("version", 1)
    if read is None or other is None:
        raise Unknown("both did, and the ledger's history does not say what the second had read")
    return "BOTH, and neither saw the other" if int(read) < int(other) else "one after the other: the second saw what the first had written"


@fact("7f", "do two transactions that write one ledger row both commit?", None, 10, 45)
def two_transactions(session):
    return one_ledger_row(session, giving_up=False), None


@fact("7g", "does one commit whose run is given up meanwhile?", None, 10, 45)
def given_up_meanwhile(session):
    return one_ledger_row(session, giving_up=True), None


@fact("8a", "the answer for a warehouse that is not there", None, 1, 0)
def no_warehouse(session):
    workspace = session.workspace
    body = {"statement": "SELECT 1", "warehouse_id": "0" * 16, "wait_timeout": "0s"}
    try:
        workspace.ask("POST", "/api/2.0/sql/statements", body)
    except Refused as refused:
        return str(refused), None
    raise Unknown("it was taken")


@fact("8b", "the answer for a statement that is not known", "unknown_statement_status", 0, 0)
def no_statement(session):
    # In the shape of an id; one that was known may be told otherwise (8h).
    unknown = "01f0" + str(uuid.uuid4())[4:]
    try:
        told = session.workspace.poll(unknown)
    except Refused as refused:
        return str(refused), str(refused.status)
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


@fact("8h", "is a statement forgotten once its result is gone?", "forgets_statements", 1, 2)
def forgotten(session):
    kept = session.good("SELECT 4 AS four").id
    raise Unknown(f"results live for an hour: in more than one, --ask {kept}")


def long_after(workspace, statement):
    """What is told of a statement whose result should be gone, and the switches that follow."""
    try:
        told = workspace.poll(statement)
    except Refused as refused:
        # Another refusal is about who asks, or when.
        is_unknown = refused.status in (400, 404, 410)
        found = {"forgets_statements": "true", "unknown_statement_status": str(refused.status)} if is_unknown else {}
        return str(refused), found
    if told.state == "CLOSED" and not told.has_result:
        return "HTTP 200 CLOSED", {"forgets_statements": "false"}
    return f"HTTP 200 {told.word()}: ask again when its result is gone", {}


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


@fact("G", "is INSERT … BY NAME REPLACE WHERE taken?", None, 6, 25)
def replace_by_name(session):
    def replaced(by_name, columns):
        table = session.table("id BIGINT, v BIGINT")
        session.good(f"INSERT INTO {table} SELECT id, 0L FROM range(0, 10)")
        where = "id > CAST('3' AS BIGINT) AND id <= CAST('7' AS BIGINT)"
        told = session.workspace.run(f"INSERT INTO {table} {by_name} REPLACE WHERE {where} SELECT {columns}")
        if not told.is_good:
            return f"no: {told.word()}"
        # Four of ten rows make way for one.
        is_right = session.value(f"SELECT count(*) = 7 AND count_if(id = 5 AND v = 1) = 1 AS ok FROM {table}") == "true"
        return "yes" if is_right else "NOT RIGHT: it was taken, and other rows are there than should be"

    # In another order than the table's.
    seen = replaced("BY NAME", "1L AS v, 5L AS id")
    return seen if seen == "yes" else f"{seen}; without BY NAME {replaced('', '5L AS id, 1L AS v')}", None


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
