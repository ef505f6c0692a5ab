#!/usr/bin/env bash
# The Databricks demo without Databricks: a small shop into a double of a workspace, changed, killed half-way, counted.
# Usage: demo-databricks.sh [SCALE]   (TPC-H's scale; 0.01 is 87,000 rows). What it leaves is in target/demo-databricks.
set -euo pipefail
# Small tables: what `make test` has built anyway is fast enough.
profile=debug
. "$(dirname "${BASH_SOURCE[0]}")/pieces.sh"

if [ -z "${LAKEWARD_TEST_POSTGRES_URL:-}" ]; then
  heading "This is not Databricks"
  cat <<'TEXT'
  The workspace of this demo is a double: a program of the tests that answers as the Statement Execution API does,
  with Spark and Delta behind it, refusing more than the service refuses. It shows what lakeward sends and what becomes
  of it. It says nothing about the service's speed and cost, and what only a workspace can show, `make databricks-day-one`
  asks of one.
TEXT
  heading "Building lakeward and the double"
  (cd "$root" && cargo build --workspace --bins)
  exec "$root/tests/setup/with-servers.sh" pg azurite spark python -- "$0" "$@"
fi

begin=$(now)
open_shop demo-databricks
# The key of every such emulator; its documentation publishes it.
export STORE_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
# It ends when this shell does: then its standard input is closed.
coproc double { exec "$CARGO_TARGET_DIR/debug/databricks_double" demo; }
read -r line <&"${double[0]}"
for pair in $line; do export "${pair?}"; done
configure databricks "s|@HOST@|$DATABRICKS_HOST|; s|@WAREHOUSE@|$DATABRICKS_WAREHOUSE_ID|; s|@AZURITE@|$LAKEWARD_TEST_AZURITE_URL|"
workspace() { "$LAKEWARD_TEST_PYTHON" "$here/workspace_side.py" "$@"; }
workspace sql "CREATE SCHEMA main.shop"

heading "1. A shop in PostgreSQL: TPC-H's tables, and one with a column of every type"
at=$(now)
"$here/load_shop.sh" "${1:-0.01}"
took "loaded" "$at"

heading "2. Is everything there, and allowed? (lakeward check)"
"${lakeward[@]}" check

heading "3. What would happen, with every statement (lakeward plan region)"
"${lakeward[@]}" plan region

heading "4. The first load: parts are staged, COPY INTO, one MERGE or INSERT OVERWRITE a table"
at=$(now)
"${lakeward[@]}" run "${shows[@]}"
took "run" "$at"

heading "5. Both sides: PostgreSQL by psql, the workspace by its HTTP API, the tables' folders by DuckDB"
workspace compare

heading "6. A day in the shop: rows change, come, and are marked as deleted"
psql -XAqt "$LAKEWARD_TEST_POSTGRES_URL?sslmode=require" -f "$here/change_shop.sql"

heading "7. The next run, killed with kill -9 when the warehouse has got the MERGE of lineitem"
sent() { grep '"job":"lineitem"' killed.log 2>/dev/null | grep -q '"step_sent","step":"apply"'; }
kill_when killed.log "the MERGE of lineitem" sent
echo "  killed; the warehouse goes on with what it has got"
"${lakeward[@]}" runs -n 1

heading "8. The same command again: it asks after what the warehouse has got, and goes on"
at=$(now)
"${lakeward[@]}" run "${shows[@]}"
took "run" "$at"

heading "9. Both sides again: nothing lost, nothing twice"
workspace compare

heading "10. One run in full, and what the table's history says"
"${lakeward[@]}" show lineitem
workspace sql "DESCRIBE HISTORY main.shop.lineitem" version timestamp operation

heading "11. What the warehouse was sent for the last run of lineitem"
workspace sent lineitem
"${lakeward[@]}" status
took "the whole demo" "$begin"
echo "  the configuration: target/demo-databricks/lakeward.toml   (a double: not Databricks)"
