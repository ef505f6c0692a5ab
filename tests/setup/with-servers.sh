#!/usr/bin/env bash
# Runs one command with private servers, and stops them when it ends, however it ends.
# Usage: with-servers.sh [--pg MAJOR] [SERVER...] -- COMMAND...   (servers: see servers.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

things=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  if [ "$1" = --pg ]; then pg_version=$2 && shift; else things+=("$1"); fi
  shift
done
[ "${1:-}" = -- ] && [ $# -gt 1 ] || die "usage: with-servers.sh [--pg MAJOR] [SERVER...] -- COMMAND..."
shift

dies_with_parent=yes
dir=$(mktemp -d "${TMPDIR:-/tmp}/lakeward-servers.XXXXXX")
finish() {
  local status=$?
  trap - EXIT
  stop_servers
  # A server that did not come up is explained by nothing but its log.
  if [ -n "${started:-}" ]; then rm -rf "$dir"; else printf 'servers: the logs are kept in %s\n' "$dir" >&2; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start_servers "${things[@]}"
started=yes
setpriv --pdeathsig TERM -- "$@"
