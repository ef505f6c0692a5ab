"""Day one with a Databricks workspace: finds out what could not be known without one, and says which switches follow.

    DATABRICKS_HOST=adb-….azuredatabricks.net DATABRICKS_TOKEN=… DATABRICKS_WAREHOUSE_ID=… \\
    LAKEWARD_DAY_ONE_SCHEMA=catalog.schema LAKEWARD_DAY_ONE_STAGING=/Volumes/catalog/schema/volume day_one.py

DATABRICKS_HOST, DATABRICKS_TOKEN, DATABRICKS_WAREHOUSE_ID
    the workspace, a personal access token (or any bearer token), the smallest SQL warehouse there is
LAKEWARD_DAY_ONE_SCHEMA
    catalog.schema, a throw-away schema: tables are made in it and dropped again
LAKEWARD_DAY_ONE_STAGING
    where staged files are: a volume's folder, into which the script writes by itself, or a folder such as
    abfss://container@account.dfs.core.windows.net/folder that an external location covers. Into that one somebody
    has to upload what --write-files FOLDER has written
LAKEWARD_DAY_ONE_STAGING_TOO (optional)
    the same folder in its other spelling: the cloud path of the volume, or the volume over the folder
LAKEWARD_DAY_ONE_SECOND_TOKEN (optional)
    the token of a principal that owns nothing, to find out which privilege the fence needs

One line a fact: its number (those in brackets in tests/src/double/switches.rs; letters are the model's), the question,
what was seen, and the switch of the double to set. What could not be found out says `unknown` and why. Tables and files are removed at
the end, also after Ctrl-C. Exit code: 0, or 1 if the workspace could not be reached, 2 for a wrong call.
"""

import argparse
import json
import os
import re
import signal
import sys
import time

# Imported for the facts that they put into FACTS.
import copies  # noqa: F401
import open_writes  # noqa: F401
import service
from facts import FACTS, FOLDER, Session, Unknown
from parquet_file import all_files
from workspace import Refused, Workspace


NEEDED = ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_WAREHOUSE_ID", "LAKEWARD_DAY_ONE_SCHEMA", "LAKEWARD_DAY_ONE_STAGING")
# A 2X-Small warehouse, and what an hour of it costs where serverless is 0.70 USD a DBU.
DBU_AN_HOUR, USD_A_DBU = 4, 0.70


def main():
    arguments = parse_arguments()
    if arguments.write_files:
        return write_files(arguments.write_files)
    chosen = [fact for fact in FACTS if not arguments.only or any(is_asked(fact.number, word) for word in arguments.only)]
    chosen.sort(key=lambda fact: order(fact.number))
    if not arguments.ask:
        print(estimate(chosen), flush=True)
    if arguments.estimate:
        return 0
    absent = [name for name in NEEDED if not os.environ.get(name)]
    if absent:
        print(f"not set: {', '.join(absent)} (--help says what each is)", file=sys.stderr)
        return 2
    session = session_of(os.environ)
    if session is None:
        return 2
    if arguments.ask:
        return ask(session.workspace, arguments.ask)
    if sys.stdin.isatty() and not arguments.yes and input("go on? [y/N] ").lower() != "y":
        return 0
    return run(session, chosen, arguments.json)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimate", action="store_true", help="only say what it would cost")
    parser.add_argument("--yes", action="store_true", help="do not ask before it begins")
    parser.add_argument("--only", action="append", metavar="NUMBER", help="only these facts: A1, or 3 for 3a, 3b and 3c")
    parser.add_argument("--json", metavar="FILE", help="also write the switches that were found, as JSON")
    parser.add_argument("--write-files", metavar="FOLDER", help="write the Parquet files that have to be uploaded, and end")
    parser.add_argument("--ask", metavar="STATEMENT_ID", help="what the service says of a statement that ended more than an hour ago (8h names one)")
    return parser.parse_args()


def is_asked(number, word):
    """`3` is 3a and 3b, `A` is A1 and A2, and `1` is not 10a."""
    rest = number.removeprefix(word)
    return number.startswith(word) and not (word[-1:].isdigit() and rest[:1].isdigit())


def order(number):
    """Letters first, then numbers as numbers; a letter behind a number stays behind it."""
    letter, digits, rest = re.fullmatch(r"([A-Z]?)(\d*)([a-z]?)", number).groups()
    return (not letter, letter, int(digits or 0), rest)


def estimate(chosen):
    statements = sum(fact.statements for fact in chosen)
    minutes = max(1, round(sum(fact.seconds for fact in chosen) / 60))
    dbu = minutes / 60 * DBU_AN_HOUR
    return (
        f"{len(chosen)} facts: about {statements} statements and {minutes} minutes of a 2X-Small warehouse, "
        f"{dbu:.1f} DBU, {dbu * USD_A_DBU:.2f} USD at {USD_A_DBU:.2f} a DBU (and its auto-stop time)"
    )


def session_of(environment):
    schema, staging = environment["LAKEWARD_DAY_ONE_SCHEMA"], environment["LAKEWARD_DAY_ONE_STAGING"]
    too, second = environment.get("LAKEWARD_DAY_ONE_STAGING_TOO"), environment.get("LAKEWARD_DAY_ONE_SECOND_TOKEN")
    # They stand in statements as they are.
    if not re.fullmatch(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+", schema):
        print("LAKEWARD_DAY_ONE_SCHEMA is not catalog.schema in plain letters, digits and _", file=sys.stderr)
        return None
    if any("'" in place or "\\" in place for place in (staging, too or "")):
        print("LAKEWARD_DAY_ONE_STAGING may hold neither quotes nor backslashes", file=sys.stderr)
        return None
    host, token, warehouse = (environment[name] for name in NEEDED[:3])
    return Session(Workspace(host, token, warehouse, [second]), schema, staging, too, second)


def write_files(folder):
    for name, content in all_files().items():
        path = os.path.join(folder, FOLDER, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    print(f"upload the folder {os.path.join(folder, FOLDER)} into LAKEWARD_DAY_ONE_STAGING, as it is named")
    return 0


def ask(workspace, statement):
    seen, switches = service.long_after(workspace, statement)
    print(workspace.redacted(seen))
    for name in ("forgets_statements", "unknown_statement_status"):
        print(f"  {name:36} {switches.get(name, 'unknown')}")
    return 0


def run(session, chosen, json_file):
    def say(text):
        print(session.workspace.redacted(text), flush=True)

    def stop(*_):
        # Once: whoever presses again must not stop the cleaning.
        on_signals(signal.SIG_IGN)
        raise KeyboardInterrupt

    on_signals(stop)
    switches = {}
    try:
        begin(session)
        for fact in chosen:
            seen, value = answer(session, fact)
            say(f"{fact.number:4} {fact.question:62} {seen}" + (f"   -> {fact.switch} = {value}" if value else ""))
            if value:
                switches.setdefault(fact.switch, []).append((fact.number, value))
        say_switches(say, switches, chosen, json_file)
        code = 0
    except KeyboardInterrupt:
        say("stopped")
        code = 130
    except (Refused, OSError, Unknown, RuntimeError) as error:
        say(f"cannot go on: {error}")
        code = 1
    on_signals(signal.SIG_IGN)
    session.clean(say)
    say(f"{session.workspace.statements} statements were sent")
    return code


def on_signals(handler):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def begin(session):
    """Reaches everything once, so that a wrong token or folder is told before the first fact."""
    try:
        path = f"/api/2.0/sql/warehouses/{session.workspace.warehouse}"
        session.warehouse_was = session.workspace.ask("GET", path)[1]
    except Refused as refused:
        session.warehouse_was = {"error": str(refused)}
    began = time.monotonic()
    session.good("SELECT 1 AS one")
    session.seen["first_seconds"] = time.monotonic() - began
    session.stage()


def answer(session, fact):
    """What was seen, and the switch's value or None."""
    try:
        return fact.run(session)
    except Unknown as unknown:
        return f"unknown: {unknown}", None
    except (Refused, OSError, RuntimeError) as error:
        return f"unknown: {error}", None


def one_value(found):
    """Several facts of one switch: the fence holds only if it holds for every statement, and writes conflict only if all do."""
    values = {value for _, value in found}
    return next(iter(values)) if len(values) == 1 else "false"


def say_switches(say, switches, chosen, json_file):
    say("\nswitches of the double (tests/src/double/switches.rs)")
    for name in sorted({fact.switch for fact in chosen if fact.switch}):
        found = switches.get(name)
        say(f"  {name:36} {one_value(found) if found else 'unknown'}" + (f"   ({', '.join(n for n, _ in found)})" if found else ""))
    fence = dict(switches.get("metadata_commit_fails_open_writes", []))
    if "false" in fence.values():
        late = ", ".join(number for number, value in fence.items() if value == "false")
        say(f"\nTHE FENCE DOES NOT HOLD ({late}): a write that a run has given up may commit after it. Load nothing before that is settled.")
    if json_file:
        with open(json_file, "w", encoding="utf-8") as file:
            json.dump({name: one_value(found) for name, found in switches.items()}, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    sys.exit(main())
