"""Reads a Delta table by three implementations that are not ours and prints what each saw, as canonical JSON.

    read_back.py [--reader duckdb|polars|deltalake]... [--rows] [--option KEY=VALUE]... FOLDER_OR_URL
    read_back.py --parquet [--reader duckdb|polars]... [--rows] FILE...

With --parquet the table is these Parquet files and no Delta table.

Printed per reader: `rows`, `columns` (name, type, nulls, checksum that does not depend on the order of rows), and with
--rows every row as text, sorted. A reader that cannot (DuckDB and a remote table) says why in `skipped`; one that
failed says so in `error`, and the exit code is 1. What two readers print is equal if and only if they read the same.

Canonical text of a value: integers and decimals in plain digits, floats as the hexadecimal digits of their bits
(`NaN` for each NaN), binary as hexadecimal, dates and timestamps in ISO 8601 with six digits of fraction and `Z` where
the type is an instant, lists and structs as JSON arrays of their values, maps as sorted arrays of pairs.
"""

import argparse
import datetime
import glob
import hashlib
import importlib.util
import json
import os
import struct
import sys

EPOCH = datetime.datetime(1970, 1, 1)


def main():
    arguments = parse_arguments()
    known = FILE_READERS if arguments.parquet else READERS
    table = arguments.table if arguments.parquet else arguments.table[0]
    readers = arguments.reader or list(known)
    options = dict(option.split("=", 1) for option in arguments.option)
    report = {name: attempt(known[name], name, table, options, arguments.rows) for name in readers}
    json.dump(report, sys.stdout, ensure_ascii=False, indent=1)
    print()
    return 1 if any("error" in seen for seen in report.values()) else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", nargs="+")
    parser.add_argument("--parquet", action="store_true", help="the table is these Parquet files")
    parser.add_argument("--reader", action="append", choices=list(READERS))
    parser.add_argument("--rows", action="store_true", help="print every row, sorted")
    parser.add_argument("--option", action="append", default=[], help="storage option of deltalake and polars")
    return parser.parse_args()


def attempt(reader, name, table, options, with_rows):
    if name == "duckdb" and "://" in table and not table.startswith("file://"):
        return {"skipped": "DuckDB reads tables in folders only here: its object-store extensions know no emulator"}
    try:
        return describe(reader(table, options), with_rows)
    except Exception as error:  # whatever a reader throws is its verdict on the table
        return {"error": f"{type(error).__name__}: {error}"}


def read_deltalake(table, options):
    import deltalake

    return deltalake.DeltaTable(table, storage_options=options or None).to_pyarrow_table()


def read_polars(table, options):
    import polars

    return polars.read_delta(table, storage_options=options or None).to_arrow()


def read_duckdb(table, _options):
    import duckdb

    connection = duckdb.connect()
    load_extension(connection, "delta")
    # Instants come back in the session's zone otherwise.
    connection.execute("SET TimeZone = 'UTC'")
    return connection.execute("SELECT * FROM delta_scan(?)", [table]).to_arrow_table()


def load_extension(connection, name):
    """From its wheel: DuckDB would download it."""
    package = importlib.util.find_spec(f"duckdb_extension_{name}").submodule_search_locations[0]
    (path,) = glob.glob(os.path.join(package, "extensions", "*", f"{name}.duckdb_extension"))
    connection.execute(f"LOAD '{path}'")


READERS = {"duckdb": read_duckdb, "polars": read_polars, "deltalake": read_deltalake}


def files_by_polars(files, _options):
    import polars

    return polars.read_parquet(files).to_arrow()


def files_by_duckdb(files, _options):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection.execute("SELECT * FROM read_parquet(?)", [files]).to_arrow_table()


FILE_READERS = {"duckdb": files_by_duckdb, "polars": files_by_polars}


def describe(table, with_rows):
    columns = [[canonical(value, field.type) for value in raw(table.column(field.name), field.type)] for field in table.schema]
    seen = {"rows": table.num_rows, "columns": []}
    for field, values in zip(table.schema, columns):
        seen["columns"].append(
            {
                "name": field.name,
                "type": type_name(field.type),
                "nulls": sum(value is None for value in values),
                "checksum": checksum(values),
            }
        )
    if with_rows:
        seen["row_texts"] = sorted(json.dumps(row, ensure_ascii=False) for row in zip(*columns))
    return seen


def checksum(values):
    total = sum(int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:16], "big") for value in values)
    return f"{total % (1 << 128):032x}"


def raw(column, kind):
    """Python values; timestamps as integers, because Python's have no year 10000 and pandas' no microseconds."""
    import pyarrow

    if pyarrow.types.is_timestamp(kind):
        return column.cast(pyarrow.timestamp("us", kind.tz)).cast(pyarrow.int64()).to_pylist()
    return column.to_pylist()


def canonical(value, kind):
    import pyarrow.types as types

    if value is None:
        return None
    if types.is_boolean(kind):
        return "true" if value else "false"
    if types.is_float32(kind):
        return "NaN" if value != value else struct.pack(">f", value).hex()
    if types.is_floating(kind):
        return "NaN" if value != value else struct.pack(">d", value).hex()
    if types.is_decimal(kind):
        return format(value, "f")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if types.is_timestamp(kind):
        if isinstance(value, int):
            value = EPOCH + datetime.timedelta(microseconds=value)
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + ("Z" if kind.tz else "")
    if types.is_date(kind):
        return value.isoformat()
    if types.is_map(kind):
        return sorted([canonical(key, kind.key_type), canonical(item, kind.item_type)] for key, item in value)
    if types.is_list(kind) or types.is_large_list(kind) or is_view(kind):
        return [canonical(item, kind.value_type) for item in value]
    if types.is_struct(kind):
        return [canonical(value[field.name], field.type) for field in kind]
    return str(value)


def is_view(kind):
    return str(kind).startswith(("list_view", "large_list_view"))


def type_name(kind):
    """The type as a Delta table names it, so that string and large_string, which only differ in memory, are one."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return type_name(kind.value_type)
    if types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    if types.is_map(kind):
        return f"map<{type_name(kind.key_type)},{type_name(kind.item_type)}>"
    if types.is_list(kind) or types.is_large_list(kind) or is_view(kind):
        return f"array<{type_name(kind.value_type)}>"
    if types.is_struct(kind):
        return "struct<" + ",".join(f"{field.name}:{type_name(field.type)}" for field in kind) + ">"
    names = {
        "bool": "boolean", "int8": "byte", "int16": "short", "int32": "integer", "int64": "long",
        "float": "float", "double": "double", "date32[day]": "date",
        "string": "string", "large_string": "string", "string_view": "string",
        "binary": "binary", "large_binary": "binary", "binary_view": "binary",
    }  # fmt: skip
    return names.get(str(kind), str(kind))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The readers' thread pools now and then abort while the interpreter takes itself down, after all has been said
    # ("terminate called without an active exception").
    os._exit(code or 0)
