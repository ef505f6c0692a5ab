"""What happens to a statement that is under way: the fence, a client that goes away, a source that vanishes, a second one.

Each needs a statement that is open for certain while something else commits. It is made slow by arithmetic for each row, in
one task, and how slow is found by trying: it must still answer RUNNING after the other statement has ended. One that
succeeded all the same proves something only if it had read the table before, which the table's history says
(`readVersion`). It refuses to conclude from less.
"""

import time

from facts import Unknown, fact
from parquet_file import SLOW_ROWS

# The first try, some ten seconds on Spark; on Photon it is made longer until it lasts.
WEIGHT_FIRST, WEIGHT_MAX = 2, 20_000
ATTEMPTS_MAX = 6
# How long a statement gets to read its table after the warehouse has said RUNNING.
READING_SECONDS = 4
# So often, each time twice as long. Whoever has not begun its transaction by then is not stopped by a fence either.
LATE_MAX = 3
SLOW = "slow"


def slow(column, weight):
    """An expression over a BIGINT column that takes `weight` thousand steps a row, and little memory."""
    inner = f"aggregate(sequence(1, 1000), 0L, (b, y) -> (b * 31 + y * x + {column}) % 1000003)"
    return f"aggregate(sequence(1, {weight}), 0L, (a, x) -> (a + {inner}) % 1000003)"


def slow_copy(session, table, weight, file="slow.parquet"):
    select = f"CAST(c0001 AS BIGINT) AS id, {slow('CAST(c0001 AS BIGINT)', weight)} AS v"
    return session.copy_sql(table, [file], select=select)


def slow_rows(weight):
    # One partition: one task, whatever the warehouse's size.
    return f"SELECT id, {slow('id', weight)} AS v FROM range(0, {SLOW_ROWS}, 1, 1)"


def merge(table, rows):
    return (
        f"MERGE INTO {table} AS t USING ({rows}) AS s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET t.v = s.v WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)"
    )


def slow_merge(_session, table, weight):
    return merge(table, slow_rows(weight))


def slow_overwrite(_session, table, weight):
    return f"INSERT OVERWRITE {table} {slow_rows(weight)}"


def slow_append(_session, table, weight):
    return f"INSERT INTO {table} {slow_rows(weight)}"


class Tries:
    """How slow, and how long to wait; what one fact has found the next one begins with."""

    def __init__(self, session):
        self.session = session
        self.weight, self.reading = session.seen.get(SLOW, (WEIGHT_FIRST, READING_SECONDS))
        self.late = 0

    def was_too_short(self, lasted):
        # Half a minute is long enough for one statement beside it.
        factor = min(40, max(2, 30 / max(lasted, 0.5)))
        self.weight = int(self.weight * factor)
        if self.weight > WEIGHT_MAX:
            raise Unknown("no statement could be made slow enough")

    def began_too_late(self):
        self.reading *= 2
        self.late += 1
        return self.late < LATE_MAX

    def done(self):
        self.session.seen[SLOW] = (self.weight, self.reading)


def beside(session, sql, tries, other):
    """Starts `sql`, does `other` while it runs, and says how it ended.

    None if it had ended before `other` had: then nothing was beside anything.
    """
    workspace, began = session.workspace, time.monotonic()
    running = workspace.submit(sql)
    if workspace.is_running(running):
        time.sleep(tries.reading)
        try:
            other()
        except Unknown:
            # What comes next should not share the warehouse with it.
            workspace.cancel(running.id)
            raise
        # A service that lags may say RUNNING once more about a statement that has ended; not for two seconds.
        states = []
        for _ in range(4):
            states.append(workspace.poll(running.id))
            time.sleep(0.5)
        end = workspace.finish(states[-1])
        is_beside = all(told.state == "RUNNING" for told in states) or not end.is_good
        if is_beside:
            return end
    else:
        end = workspace.finish(running)
    if not end.is_good:
        raise Unknown(f"the slow statement itself ended as {end.word()}")
    tries.was_too_short(time.monotonic() - began)
    return None


def read_version(session, table):
    """Which version the newest write of rows had read."""
    history = session.good(f"DESCRIBE HISTORY {table} LIMIT 3")
    for row in range(len(history.rows)):
        operation = history.cell("operation", row) or ""
        if "PROPERTIES" not in operation.upper():
            read = history.cell("readVersion", row)
            return int(read) if read is not None else None
    return None


def beside_a_commit(session, statement, other, name, rows="id, 0L", properties=""):
    """A write that is open while `other`, told by this name, commits to its table: the table, its end, and what it had read if it ended well."""
    tries = Tries(session)
    for _ in range(ATTEMPTS_MAX):
        table = session.table("id BIGINT, v BIGINT", properties)
        session.good(f"INSERT INTO {table} SELECT {rows} FROM range(0, 10)")
        before = session.version(table)
        end = beside(session, statement(session, table, tries.weight), tries, lambda t=table: session.good(other(t)))
        if end is None:
            continue
        tries.done()
        if not end.is_good:
            return table, end, ""
        read = read_version(session, table)
        if read is None:
            raise Unknown("it succeeded, and the table's history does not say what it had read")
        if read == before:
            return table, end, f"having read version {before}, before the {name}"
        waited = tries.reading
        if not tries.began_too_late():
            return table, end, f"having run for {waited} s before the {name} and read the table behind it: begun late, or anew"
    raise Unknown(f"no try was open before and after the {name}")


def fenced(session, statement):
    """Whether SET TBLPROPERTIES fails this statement: True, False, and what was seen."""

    def fence(table):
        return f"ALTER TABLE {table} SET TBLPROPERTIES ('lakeward.fence' = '{session.nonce}')"

    _, end, how = beside_a_commit(session, statement, fence, "ALTER")
    if end.is_good:
        return False, f"NO: it committed, {how}"
    if "METADATA_CHANGED" in end.error_class:
        return True, f"yes: it ended as {end.word()}"
    raise Unknown(f"it failed in another way: {end.word()}")


def fence_fact(number, name, statement):
    @fact(number, f"does SET TBLPROPERTIES fail a running {name}?", "metadata_commit_fails_open_writes", 14, 75)
    def ask(session):
        does, seen = fenced(session, statement)
        return seen, "true" if does else "false"

    return ask


fence_fact("A1", "COPY INTO", slow_copy)
fence_fact("A2", "MERGE", slow_merge)
fence_fact("A3", "INSERT OVERWRITE", slow_overwrite)


@fact("A4", "which privilege does SET TBLPROPERTIES need?", "properties_privilege", 10, 20)
def privilege(session):
    if not session.second_token:
        raise Unknown("it takes a principal that owns nothing: its token in LAKEWARD_DAY_ONE_SECOND_TOKEN (CAN USE on the warehouse)")
    other = session.workspace.as_other(session.second_token)
    me = other.ask("GET", "/api/2.0/preview/scim/v2/Me")[1]
    name = me.get("applicationId") or me.get("userName")
    table = session.table("id BIGINT")
    catalog, schema = session.schema.split(".")
    for grant in (f"USE CATALOG ON CATALOG {catalog}", f"USE SCHEMA ON SCHEMA {catalog}.{schema}"):
        # Both may be there already, and granting them may be somebody else's right.
        session.workspace.run(f"GRANT {grant} TO `{name}`")
    fence = f"ALTER TABLE {table} SET TBLPROPERTIES ('lakeward.fence' = '{session.nonce}')"
    refusals = []
    for privileges in ("SELECT", "MODIFY", "MANAGE"):
        session.good(f"GRANT {privileges} ON TABLE {table} TO `{name}`")
        told = other.run(fence)
        if told.is_good:
            return f"refused with {', '.join(refusals) or 'nothing'}; done with {privileges}", privileges
        refusals.append(privileges)
    raise Unknown(f"not even with {', '.join(refusals)}: {told.word()}")


@fact("B", "does a statement go on when its client has gone?", None, 8, 60)
def zombie(session):
    tries = Tries(session)
    table = session.table("id BIGINT, v BIGINT")
    began = time.monotonic()
    told = session.workspace.submit(slow_append(session, table, tries.weight))
    # Nobody polls it: only the table is looked at.
    while session.count(table) == 0:
        if time.monotonic() - began > 300:
            raise Unknown("it had not committed after five minutes without a poll")
        time.sleep(2)
    lasted = time.monotonic() - began
    end = session.workspace.finish(session.workspace.poll(told.id))
    return f"yes: it committed {lasted:.0f} s after it was sent, without a poll; then {end.state}", None


def vanishing(session, sql_of, vanish):
    """How a write ends whose source is taken away while it runs."""
    tries = Tries(session)
    for _ in range(ATTEMPTS_MAX):
        table = session.table("id BIGINT, v BIGINT")
        end = beside(session, sql_of(table, tries.weight), tries, vanish)
        if end is None:
            continue
        tries.done()
        rows = session.count(table)
        return f"it {'commits all the same' if end.is_good else 'fails: ' + end.word()}; {rows} rows are there"
    raise Unknown("no try was open before and after")


@fact("C1", "does DROP TABLE of its source stop a running INSERT?", None, 8, 60)
def dropped_source(session):
    def sql_of(table, weight):
        nonlocal source
        source = session.table("id BIGINT")
        session.good(f"INSERT INTO {source} SELECT id FROM range(0, {SLOW_ROWS}, 1, 1)")
        return f"INSERT INTO {table} SELECT id, {slow('id', weight)} FROM {source}"

    source = None
    return vanishing(session, sql_of, lambda: session.good(f"DROP TABLE {source}")), None


@fact("C2", "does deleting its file stop a running COPY INTO?", None, 6, 60)
def deleted_file(session):
    def sql_of(table, weight):
        if session.can_write and "slow_gone.parquet" not in session.uploaded:
            session.put("slow_gone.parquet")
        return slow_copy(session, table, weight, "slow_gone.parquet")

    return vanishing(session, sql_of, lambda: session.remove("slow_gone.parquet")), None


@fact("D", "which of two COPY INTO that share a file fails?", "copy_overlap", 8, 90)
def overlap(session):
    tries = Tries(session)
    for _ in range(ATTEMPTS_MAX):
        table = session.table("id BIGINT, v BIGINT")
        sql = slow_copy(session, table, tries.weight)
        second = {}

        def other(table=table, second=second):
            # A quick one over the same file, to its end: does it fail while the first is open?
            quick = session.copy_sql(table, ["slow.parquet"], select="CAST(c0001 AS BIGINT) AS id, 0L AS v")
            second["told"] = session.workspace.run(quick)

        first = beside(session, sql, tries, other)
        if first is None:
            continue
        tries.done()
        told = second["told"]
        seen = f"the first {first.word()}, the second {told.word()}, {session.count(table)} rows"
        if not told.is_good and first.is_good:
            return f"the one that began second, at once: {seen}", "SecondBeginFails"
        if told.is_good and not first.is_good:
            return f"the one that commits second: {seen}", "SecondCommitFails"
        raise Unknown(f"neither alone: {seen}")
    raise Unknown("no try was open before and after")


def conflicting(session, statement, other):
    """A write that is open while another one of the same keys commits: the table, and how a good end came about, or the conflict.

    Nobody had these keys before, and the table is one for row-level concurrency: if any pair passes, then this one.
    """
    deletion_vectors = "'delta.enableDeletionVectors' = 'true'"
    table, end, how = beside_a_commit(session, statement, other, "other one", rows="-1 - id, 0L", properties=deletion_vectors)
    if end.is_good:
        return table, how, None
    if "CONCURRENT" in end.error_class:
        return table, "", end.word()
    raise Unknown(f"it failed in another way: {end.word()}")


@fact("F1", "do two MERGEs that add the same keys at once both commit?", "writes_conflict", 16, 75)
def two_merges(session):
    def other(table):
        return merge(table, f"SELECT id, -1L AS v FROM range(0, {SLOW_ROWS}, 1, 1)")

    table, how, conflict = conflicting(session, slow_merge, other)
    if conflict:
        return f"no: the one that commits second ended as {conflict}", "true"
    twice = int(session.value(f"SELECT count(*) - count(DISTINCT id) AS n FROM {table}"))
    word = f"YES, and {twice} keys are there twice" if twice else "yes, and no key is there twice"
    return f"{word}: the second committed {how}", "false"


@fact("F2", "does a late INSERT OVERWRITE fail beside a newer one?", "writes_conflict", 16, 75)
def two_overwrites(session):
    def other(table):
        return f"INSERT OVERWRITE {table} SELECT id, -1L AS v FROM range(0, {SLOW_ROWS}, 1, 1)"

    table, how, conflict = conflicting(session, slow_overwrite, other)
    if conflict:
        return f"yes: it ended as {conflict}", "true"
    newer = int(session.value(f"SELECT count(*) AS n FROM {table} WHERE v = -1"))
    return f"no: it committed, {how}; {newer} rows of the newer one are left", "false"
