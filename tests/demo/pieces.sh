# Sourced by the demos: headings and times, the shop and how it is told to lakeward, a run that is killed.
# shellcheck shell=bash disable=SC2034
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lakeward/target}

heading() { printf '\n\033[1m%s\033[0m\n' "$*"; }
took() { printf '  (%s: %d.%d s)\n' "$1" $((($(date +%s%N) - $2) / 1000000000)) $((($(date +%s%N) - $2) / 100000000 % 10)); }
now() { date +%s%N; }

# An array, not a function: in the background a function would be a shell around the process that is to be killed.
lakeward=("$CARGO_TARGET_DIR/${profile:-release}/lakeward" -c lakeward.toml)
# Bars on a terminal; elsewhere the table at the end is enough.
shows=(--progress auto)
[ -t 1 ] || shows=(--progress none)

# open_shop FOLDER: an empty folder to work in, the shop's password, and $port and $ca for the configuration.
open_shop() {
  work=$root/target/$1
  rm -rf "$work" && mkdir -p "$work" && cd "$work" || exit 1
  local rest=${LAKEWARD_TEST_POSTGRES_URL#postgres://lakeward:}
  export SHOP_PASSWORD=${rest%%@*}
  port=${rest##*:} port=${port%%/*} ca=$LAKEWARD_TEST_POSTGRES_CA
}

# configure DESTINATION SED_SCRIPT: writes lakeward.toml.
configure() {
  sed -e "s|@PORT@|$port|; s|@CA@|$ca|; $2" "$here/$1.toml.in" "$here/shop.toml.in" >lakeward.toml
}

# kill_when LOG WHAT CONDITION...: runs lakeward in the background, and kills it with -9 as soon as CONDITION is true.
kill_when() {
  local log=$1 what=$2 victim deadline=$((SECONDS + 120))
  shift 2
  "${lakeward[@]}" run --progress json >"$log" 2>&1 &
  victim=$!
  until "$@"; do
    if ! kill -0 "$victim" 2>/dev/null; then cat "$log" && echo "the run ended before it could be killed" >&2 && exit 1; fi
    [ $SECONDS -lt $deadline ] || { kill "$victim"; cat "$log"; echo "$what: not within two minutes" >&2; exit 1; }
    sleep 0.02
  done
  kill -9 "$victim"
  wait "$victim" 2>/dev/null || true
}
