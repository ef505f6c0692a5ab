"""Counts both sides, the target by DuckDB, and prints one line a table. Usage: compare.py LAKE_FOLDER

Besides the rows it compares a sum over the content: of amounts and of the moments of change. The source is asked by
psql, so that nothing of ours is on either side. Exit code 1 if a table differs.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "readers"))
from read_back import load_extension  # noqa: E402

import deltalake  # noqa: E402
import duckdb  # noqa: E402

# What is summed, in words that both systems understand.
SUMS = {
    "orders": "sum(o_totalprice) + sum(date_part('epoch', updated_at)::numeric(20,6))",
    "lineitem": "sum(l_extendedprice * l_linenumber) + sum(date_part('epoch', updated_at)::numeric(20,6))",
    "customer": "sum(c_acctbal) + sum(date_part('epoch', updated_at)::numeric(20,6))",
    "part": "sum(p_retailprice)",
    "partsupp": "sum(ps_supplycost)",
    "supplier": "sum(s_acctbal)",
    "nation": "sum(n_nationkey)",
    "region": "sum(r_regionkey)",
    "every_type": "sum(a_numeric_12_2)",
}
WHERE = {"orders": " WHERE NOT is_deleted"}


def source(table):
    query = f"SELECT count(*), {SUMS[table]} FROM shop.{table}{WHERE.get(table, '')}"
    url = os.environ["LAKEWARD_TEST_POSTGRES_URL"] + "?sslmode=require"
    return subprocess.run(["psql", "-XAt", "-F,", url, "-c", query], check=True, capture_output=True, text=True).stdout.strip().split(",")


def target(connection, folder, table):
    return connection.execute(f"SELECT count(*), {SUMS[table]} FROM delta_scan('{folder}')").fetchone()


def is_same(want, got):
    """Counts exactly; sums as far as a double is exact."""
    return int(want[0]) == got[0] and abs(float(want[1]) - float(got[1])) <= 1e-6 * max(1.0, abs(float(want[1])) * 1e-9)


def main():
    lake = sys.argv[1]
    connection = duckdb.connect()
    load_extension(connection, "delta")
    differ = 0
    print(f"  {'table':12} {'rows in PostgreSQL':>20} {'rows in the lake':>18} {'content':>9}   version  history")
    for table in SUMS:
        folder = os.path.join(lake, "shop", table)
        want, got = source(table), target(connection, folder, table)
        same = is_same(want, got)
        differ += not same
        delta = deltalake.DeltaTable(folder)
        steps = [entry["operation"] for entry in reversed(delta.history())]
        print(f"  {table:12} {int(want[0]):>20,} {got[0]:>18,} {'equal' if same else 'DIFFERS':>9} {delta.version():>9}  {' '.join(steps)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
