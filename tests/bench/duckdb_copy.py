"""One table of PostgreSQL into one Parquet file by DuckDB. Usage: duckdb_copy.py URL TABLE FILE"""

import glob
import importlib.util
import os
import sys

import duckdb

url, table, path = sys.argv[1:4]
package = importlib.util.find_spec("duckdb_extension_postgres_scanner").submodule_search_locations[0]
connection = duckdb.connect()
connection.execute(f"LOAD '{glob.glob(os.path.join(package, 'extensions', '*', 'postgres_scanner.duckdb_extension'))[0]}'")
connection.execute(f"ATTACH '{url}' AS pg (TYPE postgres, READ_ONLY)")
# The codec that lakeward's parts have.
connection.execute(f"COPY (SELECT * FROM pg.public.{table}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
