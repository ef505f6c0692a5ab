#!/usr/bin/env bash
# The demo: a shop's database of a few million rows into a Delta Lake in a folder, killed half-way, changed, counted.
# Usage: demo.sh [SCALE]   (TPC-H's scale; 0.25 is 2.2 million rows). What it leaves is in target/demo.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/pieces.sh"

if [ -z "${LAKEWARD_TEST_POSTGRES_URL:-}" ]; then
  heading "Building lakeward"
  (cd "$root" && cargo build --release -p lakeward-local)
  exec "$root/tests/setup/with-servers.sh" pg python -- "$0" "$@"
fi

compare() { "$LAKEWARD_TEST_PYTHON" "$here/compare.py" "$work/lake"; }

begin=$(now)
open_shop demo
configure delta "s|@HERE@|$work|"

heading "1. A shop: TPC-H's tables, and one with a column of every PostgreSQL type"
at=$(now)
"$here/load_shop.sh" "${1:-0.25}"
took "loaded" "$at"

heading "2. What would happen (lakeward plan lineitem)"
"${lakeward[@]}" plan lineitem

heading "3. The first load, killed with kill -9 as soon as part of the largest table is staged"
sealed() { compgen -G "staging/state/runs/lineitem/*/*/slices/*.json" >/dev/null; }
kill_when first.log "part of lineitem staged" sealed
echo "  killed; sealed slices of lineitem: $(compgen -G 'staging/state/runs/lineitem/*/*/slices/*.json' | wc -l)"
"${lakeward[@]}" runs

heading "4. The same command again: it goes on where it was killed"
at=$(now)
"${lakeward[@]}" run "${shows[@]}"
took "run" "$at"

heading "5. Both sides, counted by psql and by DuckDB: nothing lost, nothing twice"
compare

heading "6. A day in the shop: rows change, come, and are marked as deleted"
psql -XAqt "$LAKEWARD_TEST_POSTGRES_URL?sslmode=require" -f "$here/change_shop.sql"

heading "7. The next run reads what changed"
at=$(now)
"${lakeward[@]}" run "${shows[@]}"
took "run" "$at"

heading "8. Both sides again"
compare

heading "9. Once more, with nothing to do"
at=$(now)
"${lakeward[@]}" run "${shows[@]}" orders lineitem customer
took "run" "$at"

heading "10. Where the time went"
"${lakeward[@]}" status
"${lakeward[@]}" runs
took "the whole demo" "$begin"
echo "  the lake: target/demo/lake   the configuration: target/demo/lakeward.toml"
