#!/usr/bin/env bash
# Fills the database at $LAKEWARD_TEST_POSTGRES_URL with the shop. Usage: load_shop.sh [SCALE]
# SCALE is TPC-H's: 1 is 8.7 million rows, the default 0.25 a quarter of it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../setup/versions.sh"
"$here/../setup/install.sh" tpchgen

scale=${1:-0.25}
url="$LAKEWARD_TEST_POSTGRES_URL?sslmode=require&options=-csearch_path%3Dshop%20-cclient_min_messages%3Derror"
psql() { command psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$url" "$@"; }

columns() {   # those that the generator has; the rest have defaults
  psql -Atc "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = '$1'::regclass AND attnum > 0 AND attname NOT IN ('updated_at', 'is_deleted')"
}
fill() {
  local table
  for table in "$@"; do
    psql -c "COPY $table ($(columns "$table")) FROM STDIN WITH (FORMAT csv, HEADER)" <"$rows/$table.csv"
  done
}

rows=$(mktemp -d)
trap 'rm -rf "$rows"' EXIT
# One call for all tables: each start makes the text pool anew, more than a second of CPU.
"$TOOLS/tpchgen-$TPCHGEN_VERSION/bin/tpchgen-cli" csv -s "$scale" -o "$rows" >"$rows/log" 2>&1 || { cat "$rows/log" >&2; exit 1; }
psql -f "$here/shop.sql"
# Two at a time, the largest alone on its connection.
fill lineitem & large=$!
fill region nation supplier part partsupp customer orders
psql -f "$here/every_type.sql"
wait "$large"
psql -c "CREATE INDEX ON customer (updated_at)" -c "CREATE INDEX ON orders (updated_at)" -c "CREATE INDEX ON lineitem (updated_at)" -c "ANALYZE"
