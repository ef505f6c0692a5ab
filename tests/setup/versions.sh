# Sourced: the one place that says which version of what the tests run against, and where it is kept.
# shellcheck shell=bash disable=SC2034
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/lakeward/tools

PG_MATRIX=(13.23.0 14.24.0 16.15.0 17.11.0 18.6.0)
AZURITE_VERSION=3.37.0
VERSITYGW_VERSION=1.8.0
MOTO_VERSION=5.2.5
S3PROXY_VERSION=4.1.0
TOXIPROXY_VERSION=2.5.0
TPCHGEN_VERSION=4.0.0
CARGO_DENY_VERSION=0.20.2
SHELLCHECK_VERSION=0.11.0.1
RUST_MIN=1.95.0
# Spark and Delta move together: Delta's artefact is named after Spark's minor version.
SPARK_VERSION=4.2.0
DELTA_VERSION=4.4.0
# A new folder for a new list: the checksum of readers.txt is its version.
READERS_VERSION=$(cksum <"$(dirname "${BASH_SOURCE[0]}")/readers.txt" | cut -d' ' -f1)

# The same for the Java classes that are compiled for Spark.
SPARK_CLASSES_VERSION=$(cat "$(dirname "${BASH_SOURCE[0]}")"/../spark/java/lakeward/testing/*.java | cksum | cut -d' ' -f1)

# Taken from PyPI only where the machine has none, or an older one.
GO_MINOR_MIN=25
GO_VERSION=1.27.3
NODE_MAJOR_MIN=20
NODE_VERSION=22.20.0
