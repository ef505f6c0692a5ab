"""Rows and a sum over Parquet files of lineitem, for comparison with the table. Usage: sum_parquet.py FILE..."""

import sys

import duckdb

query = "SELECT count(*), sum(l_extendedprice * l_linenumber) FROM read_parquet(?)"
print(*duckdb.connect().execute(query, [sys.argv[1:]]).fetchone(), sep="|")
