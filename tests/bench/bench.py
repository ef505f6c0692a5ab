"""PostgreSQL to Parquet, side by side: lakeward, DuckDB, and the server's own binary COPY as the floor.

    bench.py LAKEWARD_BINARY [--scale 1] [--runs 5] [--only NAME]...

Runs inside with-servers.sh (it reads LAKEWARD_TEST_*). Contestants take turns, so that a slow minute of the machine
hits all of them; one warm-up each, then medians and the range. Wall times of a shared machine mean little: compare
client CPU seconds and memory, as ratios. Rows and a sum over the output are compared before a time counts.

CPU and peak memory are those of the waited-for process and its children (wait4). Server CPU is what the postmaster
has reaped from its backends meanwhile; no other client may be connected.
"""

import argparse
import hashlib
import importlib.metadata
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
URL = os.environ["LAKEWARD_TEST_POSTGRES_URL"]
# Verification and encryption cost the same everywhere; without them what is left is the work under test.
PLAIN = URL + "?sslmode=disable"
TICKS = os.sysconf("SC_CLK_TCK")


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="lakeward-bench.") as work:
        load_lineitem(arguments.scale)
        contestants = {name: make(arguments.lakeward, work) for name, make in CONTESTANTS.items()}
        chosen = arguments.only or list(contestants)
        rows, total = expected()
        print(f"lineitem, scale {arguments.scale}: {rows:,} rows; PostgreSQL {os.environ['LAKEWARD_TEST_POSTGRES_VERSION']}")
        results = {name: [] for name in chosen}
        for turn in range(arguments.runs + 1):
            for name in chosen:
                result = measure(contestants[name], os.path.join(work, name))
                if turn == 0:
                    check_output(name, os.path.join(work, name), rows, total)
                else:
                    results[name].append(result)
                shutil.rmtree(os.path.join(work, name), ignore_errors=True)
    print_table(results, rows)
    print_versions(arguments.lakeward)
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lakeward")
    parser.add_argument("--scale", default="1")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", action="append", choices=list(CONTESTANTS))
    return parser.parse_args()


def load_lineitem(scale):
    subprocess.run([os.path.join(HERE, "load_lineitem.sh"), scale], check=True)


def psql(query):
    return subprocess.run(["psql", "-XAt", PLAIN, "-c", query], check=True, capture_output=True, text=True).stdout.strip()


def expected():
    rows, total = psql("SELECT count(*), sum(l_extendedprice * l_linenumber) FROM lineitem").split("|")
    return int(rows), total


# Contestants: each takes the binary and a work folder and gives (command, environment) for an output folder.


def lakeward(binary, work):
    """A whole run: plan, read, Parquet, manifests, commit. `files` writes the staged parts as they are."""
    found = re.fullmatch(r"postgres://(.*):(.*)@(.*):(\d+)/(.*)", URL).groups()
    user, password, host, port, database = found

    def command(output):
        config = os.path.join(output, "lakeward.toml")
        text = open(os.path.join(HERE, "lakeward.toml.in"), encoding="utf-8").read()
        for key, value in dict(OUTPUT=output, HOST=host, PORT=port, DATABASE=database, USER=user).items():
            text = text.replace(f"@{key}@", value)
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        return [binary, "-c", config, "run"], {"BENCH_PASSWORD": password}

    return command


def duckdb(_binary, _work):
    return lambda output: ([sys.executable, os.path.join(HERE, "duckdb_copy.py"), PLAIN, "lineitem", os.path.join(output, "lineitem.parquet")], {})


def copy_binary(_binary, _work):
    return lambda _output: (["psql", "-Xq", PLAIN, "-c", r"\copy lineitem TO '/dev/null' (FORMAT binary)"], {})


CONTESTANTS = {"server COPY": copy_binary, "lakeward": lakeward, "duckdb": duckdb}


def measure(contestant, output):
    os.makedirs(output)
    command, environment = contestant(output)
    server = wait_until_idle()
    with open(os.path.join(output, "log"), "w+", encoding="utf-8") as log:
        begin = time.monotonic()
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            sys.exit(f"bench: {' '.join(command)} ended with {process.returncode}:\n{log.read()[-4000:]}")
    server_cpu = wait_until_idle() - server
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "server": server_cpu, "rss": usage.ru_maxrss / 1024, "out": parquet_bytes(output) / 1e6}


def wait_until_idle():
    """CPU seconds of all backends that have ended, once none is left."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        cpu, clients = postmaster()
        if clients == 0:
            return cpu
        time.sleep(0.02)
    sys.exit("bench: a client stays connected to the server")


def postmaster():
    pid = os.environ["LAKEWARD_TEST_POSTGRES_PID"]
    fields = stat(pid)
    clients = 0
    for child in open(f"/proc/{pid}/task/{pid}/children", encoding="ascii").read().split():
        try:
            title = open(f"/proc/{child}/cmdline", encoding="utf-8", errors="replace").read()
            # A client's process shows its address; one that is ending, or has ended but is not reaped, shows nothing.
            clients += not title or "127.0.0.1(" in title or "parallel worker" in title
        except OSError:
            pass
    return (int(fields[13]) + int(fields[14])) / TICKS, clients


def stat(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()


def parquet_files(folder):
    for path, _, names in os.walk(folder):
        yield from (os.path.join(path, name) for name in names if name.endswith(".parquet"))


def parquet_bytes(folder):
    return sum(os.path.getsize(path) for path in parquet_files(folder))


def check_output(name, output, rows, total):
    if name == "server COPY":
        return
    paths = list(parquet_files(output))
    if not paths:
        sys.exit(f"bench: {name} wrote no Parquet file")
    # A process of its own: a child is charged with the memory its parent has when it starts, so this one stays small.
    script = [sys.executable, os.path.join(HERE, "sum_parquet.py"), *paths]
    got = subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if got != f"{rows}|{total}":
        sys.exit(f"bench: {name} wrote {got}, the table holds {rows}|{total}")


def print_table(results, rows):
    print(f"\n{'':12} {'wall s':>19} {'client CPU s':>19} {'CPU s/M rows':>13} {'server CPU s':>13} {'peak RSS MiB':>13} {'Parquet MB':>11}")
    for name, runs in results.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        spread = {key: f"({min(run[key] for run in runs):.1f}–{max(run[key] for run in runs):.1f})" for key in ("wall", "cpu")}
        print(
            f"{name:12} {middle['wall']:6.1f} {spread['wall']:>12} {middle['cpu']:6.1f} {spread['cpu']:>12} {middle['cpu'] / rows * 1e6:13.2f}"
            f" {middle['server']:13.1f} {middle['rss']:13.0f} {middle['out']:11.1f}"
        )
    if "lakeward" in results:
        for other in (name for name in results if name != "lakeward"):
            ratio = {key: statistics.median(a[key] / b[key] for a, b in zip(results["lakeward"], results[other])) for key in ("wall", "cpu", "rss")}
            print(f"lakeward / {other}: wall {ratio['wall']:.2f}, client CPU {ratio['cpu']:.2f}, RSS {ratio['rss']:.2f} (medians of paired runs)")


def print_versions(binary):
    print(f"\nDuckDB {importlib.metadata.version('duckdb')}", end="")
    if os.path.exists(binary):
        print(f"; lakeward sha256 {hashlib.sha256(open(binary, 'rb').read()).hexdigest()[:16]}", end="")
    print(f"; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
