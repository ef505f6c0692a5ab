"""Parquet files of one column, written by the standard library: each holds the one thing that a fact is about.

One row group, one page, PLAIN, not compressed, no NULLs. The footer is Thrift's compact protocol, field numbers as in the
format's parquet.thrift. No key says that Spark wrote the file: old dates are then read as the warehouse's default says.
It refuses several columns.
"""

import struct

MAGIC = b"PAR1"
# Physical types, converted types and the logical type UUID, by their numbers in parquet.thrift.
INT32, INT64, FIXED = 1, 2, 7
DECIMAL, DATE, UINT_64 = 5, 6, 14
UUID = 14
# Types of fields in the compact protocol.
T_I32, T_I64, T_BINARY, T_LIST, T_STRUCT = 5, 6, 8, 9, 12


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def i32(value):
    return T_I32, zigzag(value)


def i64(value):
    return T_I64, zigzag(value)


def text(value):
    data = value.encode()
    return T_BINARY, varint(len(data)) + data


def struct_of(fields):
    """Fields by number; one that is None is left out."""
    out, last = bytearray(), 0
    for number, field in sorted(fields.items()):
        if field is None:
            continue
        kind, data = field
        out.append((number - last) << 4 | kind)
        out += data
        last = number
    return T_STRUCT, bytes(out) + b"\x00"


def list_of(items):
    kind = items[0][0]
    return T_LIST, bytes([len(items) << 4 | kind]) + b"".join(data for _, data in items)


def column_file(physical, values, length=None, converted=None, logical=None, scale=None, precision=None, name="c0001"):
    """A file's bytes."""
    pack = {INT32: lambda v: struct.pack("<i", v), INT64: lambda v: struct.pack("<q", v), FIXED: lambda v: v}[physical]
    page = b"".join(pack(value) for value in values)
    header = struct_of(
        {1: i32(0), 2: i32(len(page)), 3: i32(len(page)), 5: struct_of({1: i32(len(values)), 2: i32(0), 3: i32(3), 4: i32(3)})}
    )[1]
    chunk = header + page
    optional = lambda value: None if value is None else i32(value)  # noqa: E731
    column = struct_of(
        {
            1: i32(physical), 2: optional(length), 3: i32(0), 4: text(name), 6: optional(converted),
            7: optional(scale), 8: optional(precision),
            10: None if logical is None else struct_of({logical: struct_of({})}),
        }
    )  # fmt: skip
    root = struct_of({4: text("schema"), 5: i32(1)})
    about = struct_of(
        {
            1: i32(physical), 2: list_of([i32(0)]), 3: list_of([text(name)]), 4: i32(0), 5: i64(len(values)),
            6: i64(len(chunk)), 7: i64(len(chunk)), 9: i64(len(MAGIC)),
        }
    )  # fmt: skip
    group = struct_of(
        {1: list_of([struct_of({2: i64(len(MAGIC)), 3: about})]), 2: i64(len(chunk)), 3: i64(len(values))}
    )
    footer = struct_of(
        {1: i32(1), 2: list_of([root, column]), 3: i64(len(values)), 4: list_of([group]), 6: text("lakeward-day-one")}
    )[1]
    return MAGIC + chunk + footer + struct.pack("<I", len(footer)) + MAGIC


# So many rows that a slow expression can be slow on each, so few that the file is small.
SLOW_ROWS = 2000


def all_files():
    """Every file that a fact reads, by its path below the staging folder."""
    rows = column_file(INT64, [1, 2])
    return {
        "rows.parquet": rows,
        "more.parquet": column_file(INT64, [3, 4]),
        "gone.parquet": rows,
        "sub/rows.parquet": rows,
        "a b.parquet": rows,
        "slow.parquet": column_file(INT64, list(range(SLOW_ROWS))),
        "slow_gone.parquet": column_file(INT64, list(range(SLOW_ROWS))),
        "int.parquet": column_file(INT32, [1, 2]),
        "decimal.parquet": column_file(INT32, [123, 456], converted=DECIMAL, scale=2, precision=9),
        # 0001-01-01, in days since 1970.
        "ancient.parquet": column_file(INT32, [-719162], converted=DATE),
        "unsigned.parquet": column_file(INT64, [1, -1], converted=UINT_64),
        "fixed.parquet": column_file(FIXED, [bytes(range(16))], length=16),
        "uuid.parquet": column_file(FIXED, [bytes(range(16))], length=16, logical=UUID),
    }
