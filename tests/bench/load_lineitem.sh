#!/usr/bin/env bash
# TPC-H's lineitem, as everybody measures it: no key, no index. Usage: load_lineitem.sh SCALE
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../setup/versions.sh"
"$here/../setup/install.sh" tpchgen
psql() { command psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$LAKEWARD_TEST_POSTGRES_URL?sslmode=disable" "$@"; }
psql -c 'CREATE UNLOGGED TABLE lineitem (
  l_orderkey bigint NOT NULL, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer NOT NULL,
  l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL,
  l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
  l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL)'
"$TOOLS/tpchgen-$TPCHGEN_VERSION/bin/tpchgen-cli" csv -s "$1" --stdout -T lineitem | psql -c 'COPY lineitem FROM STDIN WITH (FORMAT csv, HEADER)'
# Hint bits and statistics now, so that the first reader does not pay for them.
psql -c 'VACUUM (ANALYZE, FREEZE) lineitem'
