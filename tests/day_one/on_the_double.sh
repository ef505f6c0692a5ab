#!/usr/bin/env bash
# Proves the day-one script where the answers are known: on the double, with its switches one way and then the other.
# Usage: on_the_double.sh [--only NUMBER]...   (a quarter of an hour for all: what has to be slow is slow). Exit code 1: a wrong answer.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lakeward/target}

if [ -z "${LAKEWARD_TEST_SPARK_URL:-}" ]; then
  (cd "$root" && cargo build --workspace --bins)
  exec "$root/tests/setup/with-servers.sh" azurite spark -- "$0" "$@"
fi

strict=(
  metadata_commit_fails_open_writes=true ledger_after_replace=Kept force_records_files=true ledger_path=Exact
  missing_file_class=PATH_NOT_FOUND missing_files=BeforeLedger copy_widens=false datetime_rebase_default=EXCEPTION
  "copy_columns=num_affected_rows,num_inserted_rows,num_skipped_corrupt_files" atomic=On atomic_result=Empty
  unknown_statement_status=404 adjacent_literals=Concatenate copy_takes_identifier=false copy_overlap=SecondCommitFails
  history_lag=10 sqlstate=Field closes_with_result=false
)
lenient=(
  metadata_commit_fails_open_writes=false ledger_after_replace=Reset force_records_files=false ledger_path=Canonical
  missing_file_class=FAILED_READ_FILE.FILE_NOT_EXIST missing_files=AfterLedger copy_widens=true datetime_rebase_default=CORRECTED
  "copy_columns=num_inserted_rows,num_affected_rows,num_skipped_corrupt_files" atomic=On atomic_result=Last
  unknown_statement_status=400 adjacent_literals=EscapeQuote copy_takes_identifier=true copy_overlap=SecondBeginFails
  history_lag=3 sqlstate=MessageOnly closes_with_result=true
)

# What the program has no switch for: two writes that are open at once meet in Delta, which fails one of them.
always=(writes_conflict=true)

# try SWITCH=VALUE... -- ARGUMENT...: the script's answers must be the switches.
try() {
  local switches=() line pair
  while [ "$1" != -- ]; do switches+=("$1") && shift; done
  shift
  # It ends when its standard input is closed.
  coproc double { exec "$CARGO_TARGET_DIR/debug/databricks_double" day_one "${switches[@]}"; }
  # Bash keeps one coprocess at a time, and forgets this one's ends with it.
  local input=${double[1]} pid=$!
  read -r line <&"${double[0]}"
  for pair in $line; do export "${pair?}"; done
  python3 -B "$here/day_one.py" --yes --json "$answers" "$@"
  exec {input}>&-
  wait "$pid"
  python3 - "$answers" "$@" -- "${switches[@]}" "${always[@]}" <<'PYTHON'
import json, sys

told = json.load(open(sys.argv[1], encoding="utf-8"))
set_to = dict(pair.split("=", 1) for pair in sys.argv[sys.argv.index("--") + 1 :])
# The history is asked once a second.
near = lambda name, value: name == "history_lag" and value.isdigit() and abs(int(value) - int(set_to[name])) <= 2  # noqa: E731
wrong = {name: value for name, value in told.items() if name in set_to and value != set_to[name] and not near(name, value)}
print("answers that are not the double's switches:", wrong or "none", f"({len(told)} switches were found)")
# With --only some are not asked; without it each must be found.
sys.exit(1 if wrong or ("--only" not in sys.argv and set_to.keys() - told.keys()) else 0)
PYTHON
}

answers=$(mktemp)
trap 'rm -f "$answers"' EXIT
try "${strict[@]}" -- "$@"
try "${lenient[@]}" -- "$@"
if [ $# = 0 ]; then try atomic=PreviewOff -- --only 7a; fi
