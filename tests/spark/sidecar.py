"""Spark with Delta behind the Databricks double: one SQL statement a request, many at a time, over HTTP on 127.0.0.1.

Usage: sidecar.py PORT ROOT JAR...   (stands until it is killed; everything it writes is below ROOT)

POST / with a JSON object {"op": …}; what each operation takes and gives back stands at its function in OPERATIONS. A statement
that fails is an answer too: {"error_class", "sqlstate", "message"}. It refuses to know Databricks: what Spark does
differently is the double's business.
"""

import json
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The JVM prints to fd 1, and pyspark logs every error that it raises as JSON.
logging.disable(logging.CRITICAL)

from pyspark.sql import SparkSession  # noqa: E402

from failures import Failures  # noqa: E402
from statements import Statements  # noqa: E402

# At once; a statement that waits at its commit holds one of them.
STATEMENTS_MAX = 24


def session_settings(root, jars):
    return {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # 450 MiB is the least that Spark starts with; 512 MiB were enough for a million rows, but not for the statements of
        # all suites: what follows bounds what Spark and Delta remember of them.
        "spark.driver.memory": os.environ.get("LAKEWARD_SPARK_HEAP", "2g"),
        "spark.ui.retainedJobs": "20",
        "spark.ui.retainedStages": "20",
        "spark.ui.retainedTasks": "100",
        "spark.sql.ui.retainedExecutions": "20",
        "spark.databricks.delta.delta.log.cacheSize": "100",
        "spark.local.dir": f"{root}/tmp",
        "spark.jars": ",".join(jars),
        "spark.driver.extraClassPath": ":".join(jars),
        # A third of the processor's time goes to compilers, which two cores feel: the second one is for what runs ten times as
        # often as usual. In a fresh server 304 statements took 155 to 158 s of the processor instead of 171 to 177; the
        # second time there is no difference beyond the noise. Without the second compiler that is 117 s instead of 90.
        # Compiled code is thrown away and made again where its cache is full: 600 statements fill 87 of the usual 120 MB.
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:+UseSerialGC -Ddelta.log.cacheSize=100 "
        "-XX:ReservedCodeCacheSize=512m -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
        "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.delta.logStore.file.impl": "lakeward.testing.CommitGateLogStore",
        "spark.databricks.delta.commitLock.enabled": "false",
        "spark.sql.warehouse.dir": f"{root}/warehouse",
        "spark.sql.sources.default": "delta",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.default.parallelism": "2",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    }


def start_spark(root, jars):
    builder = SparkSession.builder.master("local[2]").appName("lakeward-double")
    for key, value in session_settings(root, jars).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    return spark


def handler(statements, pool):
    # Statements run in threads of their own: pyspark gives each Python thread one of the JVM, for as long as it lives.
    # Gates and cancels are files and short calls, and must not queue behind statements that wait for them.
    operations = {
        "execute": lambda m: pool.submit(statements.execute, m).result(),
        "describe": lambda m: pool.submit(statements.describe, m).result(),
        "forget": lambda m: pool.submit(statements.forget, m).result(),
        "await_gate": statements.await_gate,
        "open_gate": statements.open_gate,
        "cancel": statements.cancel,
        "ping": lambda m: {"version": statements.spark.version},
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = operations[message["op"]](message)
            body = json.dumps(answer, ensure_ascii=False).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    port, root, jars = int(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]
    os.makedirs(f"{root}/gates", exist_ok=True)
    spark = start_spark(root, jars)
    spark.sql("SELECT 1").collect()
    statements = Statements(spark, root, Failures(jars))
    with ThreadPoolExecutor(STATEMENTS_MAX) as pool:
        Server(("127.0.0.1", port), handler(statements, pool)).serve_forever()


main()
