#!/usr/bin/env bash
# Starts and stops private servers on free ports of 127.0.0.1, each by its pid, its data below one folder.
#
#   servers.sh start --dir DIR [--version MAJOR] pg|azurite|azurite_oauth|s3|moto|s3proxy|toxiproxy|spark|python...
#   servers.sh stop  --dir DIR
#
# `start` prints one `export LAKEWARD_TEST_…=…` a line. It installs what is missing. with-servers.sh sources this
# file instead, so that its servers also end when it is killed.
set -euo pipefail

setup=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$setup/versions.sh"

pg_version=                # empty: the newest one of Debian; a major: that one of the matrix
dies_with_parent=          # set by with-servers.sh
as_user=()                 # setpriv's words for who runs the next server; empty: who calls
exports=()

die() { printf 'servers: %s\n' "$*" >&2; exit 1; }

# Below the range the kernel takes outgoing ports from; who loses the race for a port tries another one.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

publish() {   # publish NAME VALUE: for this shell and for the caller of `start`
  export "LAKEWARD_TEST_$1=$2"
  exports+=("export LAKEWARD_TEST_$1='$2'")
}

# launch NAME SIGNAL COMMAND...: SIGNAL is what ends it quickly.
launch() {
  local name=$1 signal=$2
  shift 2
  # One setpriv for both: a change of user after it would clear the signal.
  setpriv ${dies_with_parent:+--pdeathsig "$signal"} "${as_user[@]}" -- "$@" >"$dir/$name.log" 2>&1 </dev/null &
  launched=$!
  echo "$launched $signal" >"$dir/$name.pid"
}

await() {   # await NAME PORT: true when it answers, false when it died (the port was taken)
  local name=$1 port=$2 deadline=$((SECONDS + 60))
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$launched" 2>/dev/null || return 1
    [ $SECONDS -lt $deadline ] || die "$name does not answer on port $port; its log: $dir/$name.log"
    sleep 0.05
  done
  # Somebody else may have answered in its place.
  sleep 0.05 && kill -0 "$launched" 2>/dev/null
}

# serve NAME SIGNAL COMMAND...: the word PORT in the command becomes the port, left in $port.
serve() {
  local name=$1 signal=$2
  shift 2
  for _ in 1 2 3; do
    port=$(free_port)
    launch "$name" "$signal" "${@//PORT/$port}"
    if await "$name" "$port"; then return; fi
  done
  tail -5 "$dir/$name.log" >&2
  die "$name does not start; its log: $dir/$name.log"
}

random_word() { head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

certificates() {   # a CA and a server certificate of 127.0.0.1 and localhost, so that verify-full has something to verify
  (
    cd "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj '/CN=Lakeward test CA' \
      -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' -keyout ca.key -out ca.pem
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=localhost' -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' >server.ext
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext -out server.pem
  ) 2>"$1/openssl.log" || die "openssl failed; its log: $1/openssl.log"
}

start_pg() {
  local bin home=$dir/pg word
  if [ -z "$pg_version" ]; then
    "$setup/install.sh" postgres
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
  else
    "$setup/install.sh" pg-matrix
    bin=$(compgen -G "$TOOLS/pg-$pg_version.*/bin") || die "no PostgreSQL $pg_version in the matrix (${PG_MATRIX[*]})"
  fi
  mkdir -p "$home" && certificates "$home"
  word=$(random_word)
  echo "$word" >"$home/password"
  if [ "$(id -u)" = 0 ]; then
    # The server refuses root, and root's cache folder is closed to everybody else: it gets a copy of the matrix' binaries.
    if [ -n "$pg_version" ]; then cp -r "${bin%/bin}" "$home/server" && bin=$home/server/bin; fi
    chmod 711 "$dir" && chown -R nobody: "$home"
    as_user=(--reuid=nobody --regid=nogroup --clear-groups)
  fi
  chmod 600 "$home/server.key"
  local plain=(env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 TZ=UTC)
  (cd "$home" && setpriv "${as_user[@]}" -- "${plain[@]}" "$bin/initdb" -D "$home/data" -A scram-sha-256 -U lakeward \
    --pwfile="$home/password" --no-sync -E UTF8 >"$dir/initdb.log" 2>&1) || die "initdb failed; its log: $dir/initdb.log"
  # 127.0.0.2 is a name that the certificate does not hold. Nothing here has to survive a power cut.
  # shellcheck disable=SC2086
  serve pg QUIT "${plain[@]}" "$bin/postgres" -D "$home/data" -p PORT -k "$home" \
    -c listen_addresses=127.0.0.1,127.0.0.2 -c ssl=on -c ssl_cert_file="$home/server.pem" -c ssl_key_file="$home/server.key" \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_wal_size=8GB -c wal_level=logical \
    -c max_prepared_transactions=10 -c max_connections=200 -c TimeZone=UTC ${LAKEWARD_PG_OPTIONS:-}
  as_user=()
  local url="postgres://lakeward:$word@127.0.0.1:$port/postgres" deadline=$((SECONDS + 60))
  # The port answers before the database does.
  until grep -q 'database system is ready to accept connections' "$dir/pg.log"; do
    [ $SECONDS -lt $deadline ] || die "PostgreSQL does not come up; its log: $dir/pg.log"
    sleep 0.05
  done
  publish POSTGRES_URL "$url"
  publish POSTGRES_PID "$launched"
  publish POSTGRES_CA "$home/ca.pem"
  publish POSTGRES_VERSION "$("$bin/postgres" --version | sed -nE 's/.* ([0-9]+)\..*/\1/p')"
}

azurite() {   # NAME [OPTION...]: its ports are left in $port and $queue
  "$setup/install.sh" azurite
  local tool=$TOOLS/azurite-$AZURITE_VERSION name=$1 table
  shift
  for _ in 1 2 3; do
    queue=$(free_port) table=$(free_port)
    port=$(free_port)
    launch "$name" TERM "$tool/node" --require "$setup/azurite_uncollected.cjs" \
      "$tool/node_modules/azurite/dist/src/azurite.js" --silent --disableTelemetry \
      --skipApiVersionCheck --inMemoryPersistence --blobHost 127.0.0.1 --queueHost 127.0.0.1 --tableHost 127.0.0.1 \
      --blobPort "$port" --queuePort "$queue" --tablePort "$table" "$@"
    if await "$name" "$port" && await "$name" "$queue"; then return; fi
  done
  die "azurite does not start; its log: $dir/$name.log"
}

start_azurite() {
  local queue
  azurite azurite
  python3 "$setup/azurite_container.py" "http://127.0.0.1:$port" lakeward
  publish AZURITE_URL "http://127.0.0.1:$port"
  publish AZURITE_QUEUE_URL "http://127.0.0.1:$queue"
  publish AZURITE_CONTAINER lakeward
}

start_azurite_oauth() {   # the same for whoever shows a token of Entra; its certificate is that of a CA of its own
  local queue home=$dir/azurite_oauth
  mkdir -p "$home" && certificates "$home"
  azurite azurite_oauth --oauth basic --cert "$home/server.pem" --key "$home/server.key"
  SSL_CERT_FILE=$home/ca.pem python3 "$setup/azurite_container.py" "https://127.0.0.1:$port" lakeward
  publish AZURITE_OAUTH_URL "https://127.0.0.1:$port"
  publish AZURITE_OAUTH_CA "$home/ca.pem"
}

start_s3() {
  "$setup/install.sh" s3
  local word
  word=$(random_word)
  mkdir -p "$dir/s3/data/lakeward"
  serve s3 TERM env ROOT_ACCESS_KEY=lakeward ROOT_SECRET_KEY="$word" \
    "$TOOLS/versitygw-$VERSITYGW_VERSION/versitygw" --quiet --port 127.0.0.1:PORT posix "$dir/s3/data"
  publish S3_URL "http://127.0.0.1:$port"
  publish S3_ACCESS_KEY lakeward
  publish S3_SECRET_KEY "$word"
  publish S3_BUCKET lakeward
}

start_moto() {
  "$setup/install.sh" s3
  serve moto TERM env AWS_ACCESS_KEY_ID=moto AWS_SECRET_ACCESS_KEY=moto AWS_DEFAULT_REGION=us-east-1 \
    "$TOOLS/moto-$MOTO_VERSION/bin/moto_server" -H 127.0.0.1 -p PORT
  python3 -c 'import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], method="PUT"), timeout=30)' \
    "http://127.0.0.1:$port/lakeward"
  publish MOTO_URL "http://127.0.0.1:$port"
  publish MOTO_BUCKET lakeward
}

start_s3proxy() {
  "$setup/install.sh" s3proxy
  mkdir -p "$dir/s3proxy/lakeward"
  local word properties=$dir/s3proxy.properties
  word=$(random_word)
  # shellcheck disable=SC2016
  serve s3proxy TERM sh -c 'printf "%s\n" s3proxy.endpoint=http://127.0.0.1:PORT s3proxy.authorization=aws-v2-or-v4 \
      s3proxy.identity=lakeward "s3proxy.credential=$1" jclouds.provider=filesystem-nio2 jclouds.filesystem.basedir="$2" >"$3"
      exec java -Xmx256m -jar "$4" --properties "$3"' sh \
    "$word" "$dir/s3proxy" "$properties" "$TOOLS/s3proxy-$S3PROXY_VERSION/s3proxy-$S3PROXY_VERSION-jar-with-dependencies.jar"
  publish S3PROXY_URL "http://127.0.0.1:$port"
  publish S3PROXY_ACCESS_KEY lakeward
  publish S3PROXY_SECRET_KEY "$word"
  publish S3PROXY_BUCKET lakeward
}

start_toxiproxy() {
  "$setup/install.sh" toxiproxy
  serve toxiproxy TERM "$TOOLS/toxiproxy-$TOXIPROXY_VERSION/toxiproxy-server" -host 127.0.0.1 -port PORT
  publish TOXIPROXY_URL "http://127.0.0.1:$port"
}

start_spark() {
  "$setup/install.sh" spark
  local tool=$TOOLS/spark-$SPARK_VERSION-delta-$DELTA_VERSION
  mkdir -p "$dir/spark"
  # TERM: the side-car ends at once and its JVM with it, because that reads from a pipe of the side-car.
  serve spark TERM env PYTHONDONTWRITEBYTECODE=1 "$tool/venv/bin/python" "$setup/../spark/sidecar.py" PORT "$dir/spark" \
    "$tool"/jars/*.jar "$TOOLS/spark-classes-$SPARK_CLASSES_VERSION/lakeward-testing.jar"
  publish SPARK_URL "http://127.0.0.1:$port"
}

start_python() {   # no server: the interpreter that has the independent readers
  "$setup/install.sh" python-readers
  publish PYTHON "$TOOLS/readers-$READERS_VERSION/bin/python"
}

start_servers() {
  local thing
  for thing in "$@"; do
    declare -F "start_$thing" >/dev/null || die "unknown server '$thing': pg azurite azurite_oauth s3 moto s3proxy toxiproxy spark python"
    "start_$thing"
  done
}

stop_servers() {
  local file pid signal deadline
  for file in "$dir"/*.pid; do
    [ -e "$file" ] || continue
    read -r pid signal <"$file"
    kill -s "$signal" "$pid" 2>/dev/null || true
  done
  for file in "$dir"/*.pid; do
    [ -e "$file" ] || continue
    read -r pid signal <"$file"
    deadline=$((SECONDS + 10))
    while kill -0 "$pid" 2>/dev/null; do
      [ $SECONDS -lt $deadline ] || kill -s KILL "$pid" 2>/dev/null || true
      sleep 0.02
    done
    rm -f "$file"
  done
}

main() {
  local action=${1:-}
  shift || true
  dir=
  while [[ ${1:-} == --* ]]; do
    case $1 in
      --dir) dir=$2 ;;
      --version) pg_version=$2 ;;
      *) die "unknown option $1" ;;
    esac
    shift 2
  done
  [ -n "$dir" ] || die "--dir is missing"
  case $action in
    start)
      mkdir -p "$dir" && dir=$(cd "$dir" && pwd)
      trap 'stop_servers' ERR
      start_servers "$@"
      printf '%s\n' "${exports[@]}"
      ;;
    stop) stop_servers ;;
    *) die "start or stop?" ;;
  esac
}
if [ "${BASH_SOURCE[0]}" = "$0" ]; then main "$@"; fi
