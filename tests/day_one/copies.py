"""What COPY INTO does: its ledger of loaded files, paths, missing files, types, old dates, its result. The numbers are those of the double's switches.

Every fact has a table of its own, because the ledger is the table's. It refuses to load what the loader would not name.
"""

import time

from facts import Unknown, fact
from workspace import Refused

PLAIN = {"select": None}


def again(session, table, **how):
    """Whether the file that the table has loaded is loaded once more: rows, 0 if the ledger knew it."""
    return session.loaded(table, ["rows.parquet"], **how)


def kept_or_reset(rows):
    return ("the files stay loaded", "Kept") if rows == 0 else (f"the files are new: {rows} rows again", "Reset")


def first(session):
    table = session.table()
    if session.loaded(table, ["rows.parquet"]) != 2:
        raise Unknown("the first COPY INTO did not load the file's two rows")
    return table


@fact("1a", "the ledger after CREATE OR REPLACE TABLE", "ledger_after_replace", 4, 20)
def after_replace(session):
    table = first(session)
    session.good(f"CREATE OR REPLACE TABLE {table} (id BIGINT)")
    return kept_or_reset(again(session, table))


@fact("1b", "the ledger after RESTORE", None, 5, 25)
def after_restore(session):
    table = session.table()
    before = session.version(table)
    session.loaded(table, ["rows.parquet"])
    session.good(f"RESTORE TABLE {table} TO VERSION AS OF {before}")
    return kept_or_reset(again(session, table))[0], None


@fact("1c", "the ledger after DROP and UNDROP", None, 5, 25)
def after_undrop(session):
    table = first(session)
    session.good(f"DROP TABLE {table}")
    session.good(f"UNDROP TABLE {table}")
    return kept_or_reset(again(session, table))[0], None


@fact("1d", "the ledger after ALTER TABLE … RENAME TO", None, 4, 20)
def after_rename(session):
    table = first(session)
    session.tables.append(f"{table}_moved")
    session.good(f"ALTER TABLE {table} RENAME TO {table}_moved")
    return kept_or_reset(again(session, f"{table}_moved"))[0], None


@fact("1e", "does COPY INTO with force put down what it loads?", "force_records_files", 3, 20)
def force(session):
    table = session.table()
    forced = session.loaded(table, ["rows.parquet"], copying="'force' = 'true'")
    rows = again(session, table)
    return f"{forced} rows by force, then {rows} without", "true" if rows == 0 else "false"


@fact("2a", "is a doubled slash another file?", "ledger_path", 3, 20)
def doubled_slash(session):
    # Of the two spellings the cloud's is the one that a scheme stands before.
    folder = session.folder_too or session.folder
    table = session.table()
    session.loaded(table, ["rows.parquet"], folder=folder)
    rows = again(session, table, folder=folder.rstrip("/") + "//")
    kind = "volume" if folder.startswith("/Volumes/") else "cloud"
    return (f"no ({kind} path)", "Canonical") if rows == 0 else (f"yes ({kind} path): loaded again", "Exact")


def same_file(rows):
    return "the same file" if rows == 0 else f"another file: {rows} rows again"


@fact("2b", "is a volume's path the same file as its cloud path?", None, 3, 20)
def volume_and_cloud(session):
    if not session.folder_too:
        raise Unknown("give the folder's other spelling in LAKEWARD_DAY_ONE_STAGING_TOO")
    return same_file(again(session, first(session), folder=session.folder_too)), None


@fact("2c", "is a folder without its last slash the same?", None, 3, 20)
def no_last_slash(session):
    return same_file(again(session, first(session), folder=session.folder.rstrip("/"))), None


@fact("2d", "is a file below the folder, by a path in FILES, the same?", None, 3, 20)
def path_in_files(session):
    table = session.table()
    session.loaded(table, ["rows.parquet"], folder=session.folder + "sub/")
    return same_file(session.loaded(table, ["sub/rows.parquet"])), None


@fact("2e", "is a percent-encoded name the same file?", None, 3, 20)
def encoded(session):
    table = session.table()
    session.loaded(table, ["a b.parquet"])
    told = session.copy(table, ["a%20b.parquet"])
    return same_file(told.count("num_inserted_rows")) if told.is_good else f"no file at all: {told.word()}", None


@fact("3a", "a missing file of FILES, with ignoreMissingFiles = false", "missing_file_class", 2, 15)
def missing(session):
    told = session.copy(session.table(), ["rows.parquet", "nothing.parquet"])
    if told.is_good:
        return f"NO failure: {told.count('num_inserted_rows')} rows. The loader's count is what notices", None
    return told.word(), told.error_class or None


@fact("3b", "are FILES looked for before the ledger is asked?", "missing_files", 3, 20)
def missing_but_loaded(session):
    if session.can_write and "gone.parquet" not in session.uploaded:
        session.put("gone.parquet")
    table = session.table()
    session.loaded(table, ["gone.parquet"])
    session.remove("gone.parquet")
    told = session.copy(table, ["gone.parquet"])
    if told.is_good:
        return "no: a loaded file that is gone is passed over", "AfterLedger"
    return f"yes: {told.word()}", "BeforeLedger"


@fact("3c", "a missing file of FILES, without the option", None, 2, 15)
def missing_by_default(session):
    sql = session.copy_sql(session.table(), ["rows.parquet", "nothing.parquet"]).split(" FORMAT_OPTIONS")[0]
    told = session.workspace.run(sql)
    return f"{told.word()}, {told.count('num_inserted_rows')} rows" if told.is_good else told.word(), None


@fact("4a", "does COPY INTO take an INT file for a BIGINT column?", "copy_widens", 3, 20)
def int_to_bigint(session):
    return widened(session.copy(session.table("c0001 BIGINT"), ["int.parquet"], **PLAIN))


def widened(told):
    if told.is_good:
        return f"yes: {told.count('num_inserted_rows')} rows", "true"
    return f"no: {told.word()}", "false"


@fact("4b", "does it take DECIMAL(9,2) for DECIMAL(12,2)?", None, 2, 15)
def decimal_growth(session):
    return widened(session.copy(session.table("c0001 DECIMAL(12,2)"), ["decimal.parquet"], **PLAIN))[0], None


@fact("4c", "do mergeSchema and type widening widen INT to BIGINT?", None, 4, 20)
def merge_schema(session):
    table = session.table("c0001 INT", "'delta.enableTypeWidening' = 'true'")
    options = {"options": ", 'mergeSchema' = 'true'", "copying": "'mergeSchema' = 'true'"}
    told = session.copy(table, ["rows.parquet"], **PLAIN, **options)
    kind = session.good(f"DESCRIBE TABLE {table}").cell("data_type")
    return f"{told.word()}; the column is {kind}", None


@fact("5a", "what reads a date before 1582 by default?", "datetime_rebase_default", 3, 15)
def old_dates(session):
    table = session.table("day DATE")
    told = session.copy(table, ["ancient.parquet"], select="CAST(c0001 AS DATE) AS day")
    if not told.is_good:
        is_rebase = "READ_ANCIENT" in told.error_class
        return told.word(), "EXCEPTION" if is_rebase else None
    day = session.value(f"SELECT CAST(day AS STRING) FROM {table}")
    return f"0001-01-01 arrives as {day}", "CORRECTED" if day.endswith("0001-01-01") else "LEGACY"


@fact("5b", "what are unsigned, fixed-length and UUID columns?", None, 4, 30)
def odd_types(session):
    seen = []
    for name in ("unsigned", "fixed", "uuid"):
        table = session.table("kind STRING")
        told = session.copy(table, [f"{name}.parquet"], select="typeof(c0001) AS kind")
        seen.append(f"{name}: {session.value(f'SELECT max(kind) FROM {table}') if told.is_good else told.word()}")
    return "; ".join(seen), None


@fact("6a", "the columns of COPY INTO's result, in order", "copy_columns", 0, 0)
def columns(session):
    names = session.seen.get("copy_columns")
    if not names:
        raise Unknown("no COPY INTO ended well")
    return ", ".join(names), ",".join(names)


@fact("6c", "the shape of COPY INTO … VALIDATE", None, 2, 15)
def validate(session):
    sql = session.copy_sql(session.table(), ["rows.parquet"]).replace("= PARQUET", "= PARQUET VALIDATE 10 ROWS", 1)
    told = session.good(sql)
    return f"columns {', '.join(told.columns) or 'none'}; {len(told.rows)} rows", None


@fact("10c", "how long does a COPY INTO of one small file take?", None, 6, 30)
def overhead(session):
    seconds = []
    for _ in range(3):
        table = session.table()
        began = time.monotonic()
        session.loaded(table, ["rows.parquet"])
        seconds.append(time.monotonic() - began)
    return f"{', '.join(f'{one:.1f}' for one in sorted(seconds))} s", None


@fact("12a", "does COPY INTO take IDENTIFIER(:name) as its target?", "copy_takes_identifier", 2, 10)
def identifier(session):
    table = session.table()
    sql = session.copy_sql("IDENTIFIER(:target)", ["rows.parquet"])
    told = session.workspace.run(sql, [("target", table, "STRING")])
    return ("yes", "true") if told.is_good else (f"no: {told.word()}", "false")


@fact("12b", "does COPY INTO take a marker as its folder?", None, 2, 10)
def marker(session):
    table = session.table()
    sql = session.copy_sql(table, ["rows.parquet"], folder="FOLDER").replace("'FOLDER'", ":folder")
    try:
        told = session.workspace.run(sql, [("folder", session.folder, "STRING")])
    except Refused as refused:
        return f"no: HTTP {refused.status}", None
    return "yes" if told.is_good else f"no: {told.word()}", None
