"""What a fact is, and what it may use: tables of its own, staged files, statements.

A fact is a function that answers one question; `@fact` puts it into the list in the order of the files that are imported.
Its answer is what was seen, and the value of a switch where there is one. It refuses to answer from one that went wrong in
another way than asked: that is `Unknown`, with the reason.
"""

import secrets
import time

from parquet_file import all_files
from workspace import Refused

FACTS = []
# So that leftovers of a script that was killed can be found and dropped.
PREFIX = "_lakeward_day_one"
# Without the underscore: COPY INTO does not see what begins with one.
FOLDER = "lakeward_day_one"


class Unknown(Exception):
    """Why it could not be found out."""


class Fact:
    def __init__(self, number, question, switch, statements, seconds, run):
        self.number, self.question, self.switch = number, question, switch
        self.statements, self.seconds, self.run = statements, seconds, run


def fact(number, question, switch=None, statements=4, seconds=15):
    """The cost is an estimate: statements, and seconds of a running 2X-Small warehouse."""

    def enter(run):
        FACTS.append(Fact(number, question, switch, statements, seconds, run))
        return run

    return enter


class Session:
    """One run of the script."""

    def __init__(self, workspace, schema, staging, staging_too=None, second_token=None):
        self.workspace, self.schema, self.second_token = workspace, schema, second_token
        self.nonce = secrets.token_hex(4)
        folder = f"{FOLDER}_{self.nonce}" if staging.startswith("/Volumes/") else FOLDER
        self.folder = f"{staging.rstrip('/')}/{folder}/"
        self.folder_too = f"{staging_too.rstrip('/')}/{folder}/" if staging_too else None
        self.can_write = staging.startswith("/Volumes/")
        self.tables, self.uploaded, self.seen = [], [], {}
        self.warehouse_was = None

    # Staged files

    def stage(self):
        """Puts every file into the volume; elsewhere they have to be there."""
        for name, content in all_files().items() if self.can_write else ():
            self.put(name, content)

    def put(self, name, content=None):
        self.workspace.put_file(self.folder + name, content if content is not None else all_files()[name])
        if name not in self.uploaded:
            self.uploaded.append(name)

    def remove(self, name):
        if not self.can_write:
            raise Unknown("a file has to be deleted for it: stage in a volume (/Volumes/…)")
        self.workspace.delete_file(self.folder + name)
        self.uploaded.remove(name)

    # Statements

    def good(self, sql, parameters=()):
        told = self.workspace.run(sql, parameters)
        if not told.is_good:
            raise Unknown(f"{' '.join(sql.split()[:3])} … ended as {told.word()}")
        return told

    def value(self, sql):
        return self.good(sql).rows[0][0]

    def table(self, columns="id BIGINT", properties="", key=""):
        name = f"{self.schema}.{PREFIX}_{self.nonce}_{len(self.tables)}"
        # Put down first: a CREATE whose answer is lost may have worked.
        self.tables.append(name)
        clause = f" TBLPROPERTIES ({properties})" if properties else ""
        self.good(f"CREATE TABLE {name} ({columns}{key}){clause}")
        return name

    def count(self, table):
        return int(self.value(f"SELECT count(*) AS n FROM {table}"))

    def version(self, table):
        told = self.good(f"DESCRIBE HISTORY {table} LIMIT 1")
        return int(told.cell("version"))

    def copy_sql(self, table, files, select="CAST(c0001 AS BIGINT) AS id", folder=None, options="", copying=""):
        """A COPY INTO as the loader renders it. `select` None takes the file's columns as they are."""
        folder = self.folder if folder is None else folder
        source = f"'{folder}'" if select is None else f"(SELECT {select} FROM '{folder}')"
        names = ", ".join(f"'{name}'" for name in files)
        return (
            f"COPY INTO {table} FROM {source} FILEFORMAT = PARQUET FILES = ({names}) "
            f"FORMAT_OPTIONS ('ignoreMissingFiles' = 'false'{options})"
            + (f" COPY_OPTIONS ({copying})" if copying else "")
        )

    def copy(self, table, files, **how):
        return self.workspace.run(self.copy_sql(table, files, **how))

    def loaded(self, table, files, **how):
        """Rows that a COPY INTO loaded, which must end well."""
        told = self.copy(table, files, **how)
        if not told.is_good:
            raise Unknown(f"COPY INTO ended as {told.word()}{self.staging_hint(told)}")
        self.seen.setdefault("copy_columns", told.columns)
        return told.count("num_inserted_rows")

    def staging_hint(self, told):
        hint = "; upload the files of --write-files first" if "PATH" in told.error_class and not self.can_write else ""
        return hint

    # The end

    def clean(self, say):
        """Stops what runs, drops and deletes what was made; says what it could not."""
        for statement in list(self.workspace.open):
            quietly(lambda s=statement: self.workspace.cancel(s))
        time.sleep(1 if self.workspace.open else 0)
        left = [table for table in reversed(self.tables) if not self.dropped(table)]
        for name in list(self.uploaded):
            if not quietly(lambda n=name: self.workspace.delete_file(self.folder + n)):
                left.append(self.folder + name)
        if self.can_write:
            # A folder is no object everywhere: where it is none there is nothing to delete.
            quietly(lambda: self.workspace.delete_folder(self.folder + "sub"))
            quietly(lambda: self.workspace.delete_folder(self.folder.rstrip("/")))
        say("left behind: " + ", ".join(left) if left else "cleaned: tables and files of this script are gone")

    def dropped(self, table):
        return quietly(lambda: self.good(f"DROP TABLE IF EXISTS {table}"))


def quietly(action):
    try:
        action()
    except (Refused, Unknown, OSError, RuntimeError):
        return False
    return True
