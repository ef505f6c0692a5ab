"""Three readers see one table alike, and a changed cell is seen by each."""

import datetime
import decimal
import json
import os
import subprocess
import sys
import tempfile
import unittest

import deltalake
import pyarrow as pa

SCRIPT = os.path.join(os.path.dirname(__file__), "read_back.py")
UTC = datetime.timezone.utc


def sample():
    return pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int64()),
            "small": pa.array([-32768, 32767, None], pa.int16()),
            "yes": pa.array([True, False, None]),
            "amount": pa.array([decimal.Decimal("0.0000000001"), decimal.Decimal("-9999999999999999999999999999.9999999999"), None], pa.decimal128(38, 10)),
            "single": pa.array([float("nan"), -0.0, None], pa.float32()),
            "double": pa.array([float("-inf"), 0.1, None], pa.float64()),
            "text": pa.array(["", "żółć \"q\"\n", None]),
            "bytes": pa.array([b"", b"\x00\xff", None]),
            "day": pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None]),
            "instant": pa.array([datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime.datetime(2024, 3, 31, 1, 30, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            "wall": pa.array([datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
            "list": pa.array([[1, None], [], None], pa.list_(pa.int32())),
            "nested": pa.array([{"a": 1, "b": "x"}, {"a": None, "b": ""}, None], pa.struct([("a", pa.int32()), ("b", pa.string())])),
        }
    )


def read_back(folder, *options):
    done = subprocess.run([sys.executable, SCRIPT, *options, folder], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


class ReadBack(unittest.TestCase):
    maxDiff = None

    def test_three_readers_agree_on_every_type(self):
        with tempfile.TemporaryDirectory() as folder:
            deltalake.write_deltalake(folder, sample())
            status, seen = read_back(folder, "--rows")
            self.assertEqual(status, 0, seen)
            self.assertEqual(seen["duckdb"]["rows"], 3)
            self.assertEqual(seen["duckdb"], seen["polars"])
            self.assertEqual(seen["duckdb"], seen["deltalake"])
            self.assertIn("0.0000000001", seen["duckdb"]["row_texts"][0])
            self.assertIn("1969-12-31T23:59:59.999999Z", seen["duckdb"]["row_texts"][0])

    def test_the_order_of_rows_does_not_matter_but_each_cell_does(self):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two, tempfile.TemporaryDirectory() as three:
            deltalake.write_deltalake(one, sample())
            deltalake.write_deltalake(two, sample().take([2, 0, 1]))
            deltalake.write_deltalake(three, sample().set_column(6, "text", pa.array(["", "zółć \"q\"\n", None])))
            (_, first), (_, turned), (_, changed) = read_back(one), read_back(two), read_back(three)
            self.assertEqual(first, turned)
            for reader in first:
                differing = [a["name"] for a, b in zip(first[reader]["columns"], changed[reader]["columns"]) if a != b]
                self.assertEqual(differing, ["text"], reader)

    def test_what_is_no_table_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            status, seen = read_back(folder)
            self.assertEqual(status, 1)
            self.assertEqual({reader for reader in seen if "error" in seen[reader]}, {"duckdb", "polars", "deltalake"})


if __name__ == "__main__":
    unittest.main()
