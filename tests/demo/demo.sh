#!/usr/bin/env bash
# The demo: a shop's database of a few million rows into a Delta Lake in a folder, killed half-way, changed, counted.
# Usage: demo.sh [SCALE]   (TPC-H's scale; 0.25 is 2.2 million rows). What it leaves is in target/demo.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lakeward/target}

heading() { printf '\n\033[1m%s\033[0m\n' "$*"; }
took() { printf '  (%s: %d.%d s)\n' "$1" $((($(date +%s%N) - $2) / 1000000000)) $((($(date +%s%N) - $2) / 100000000 % 10)); }
now() { date +%s%N; }

if [ -z "${LAKEWARD_TEST_POSTGRES_URL:-}" ]; then
  heading "Building lakeward"
  (cd "$root" && cargo build --release -p lakeward-local)
  exec "$root/tests/setup/with-servers.sh" pg python -- "$0" "$@"
fi

# An array, not a function: in the background a function would be a shell around the process that is to be killed.
lakeward=("$CARGO_TARGET_DIR/release/lakeward" -c lakeward.toml)
# Bars on a terminal; elsewhere the table at the end is enough.
shows=(--progress auto)
[ -t 1 ] || shows=(--progress none)
compare() { "$LAKEWARD_TEST_PYTHON" "$here/compare.py" "$work/lake"; }

begin=$(now)
work=$root/target/demo
rm -rf "$work" && mkdir -p "$work" && cd "$work"
rest=${LAKEWARD_TEST_POSTGRES_URL#postgres://lakeward:}
export SHOP_PASSWORD=${rest%%@*}
port=${rest##*:}
sed -e "s|@HERE@|$work|; s|@PORT@|${port%%/*}|; s|@CA@|$LAKEWARD_TEST_POSTGRES_CA|" "$here/lakeward.toml.in" >lakeward.toml

heading "1. A shop: TPC-H's tables, and one with a column of every PostgreSQL type"
at=$(now)
"$here/load_shop.sh" "${1:-0.25}"
took "loaded" "$at"

heading "2. What would happen (lakeward plan lineitem)"
"${lakeward[@]}" plan lineitem

heading "3. The first load, killed with kill -9 as soon as part of the largest table is staged"
"${lakeward[@]}" run >first.log 2>&1 &
victim=$!
deadline=$((SECONDS + 60))
sealed() { compgen -G "staging/state/runs/lineitem/*/*/slices/*.json" >/dev/null; }
until sealed; do
  if ! kill -0 "$victim" 2>/dev/null; then cat first.log && echo "the run ended before it could be killed" >&2 && exit 1; fi
  [ $SECONDS -lt $deadline ] || { kill "$victim"; cat first.log; echo "nothing of lineitem was staged within a minute" >&2; exit 1; }
  sleep 0.02
done
kill -9 "$victim"
wait "$victim" 2>/dev/null || true
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
