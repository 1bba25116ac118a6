# Shared by the scripts beside it: the release build, a folder of their own, a
# cluster of real processes. Sourced, not run.
#
#   BENCH_DIR   where files and data lie meanwhile (default: among the temporary files)
#   BENCH_MIB   MiB of the file that is stored (default: 1024)
#   BENCH_PORT  the coordinator's port; the nodes take those that follow (default: 14000)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for tool in cargo hyperfine awk; do
  command -v "$tool" >/dev/null || { echo "this needs $tool" >&2; exit 2; }
done
cargo build --release --locked --quiet
DFS="$PWD/target/release/dfs-sim"
WORK="$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/dfs-sim-benches-XXXXXX")"
MIB="${BENCH_MIB:-1024}"
PORT="${BENCH_PORT:-14000}"
RUNS="${BENCH_RUNS:-5}"
export DFS_SIM_COORD="127.0.0.1:$PORT" DFS_SIM_PROGRESS=never
PIDS=()

stop_all() {
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${PIDS[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$WORK"
}
trap stop_all EXIT

# start_cluster NODES [FLAGS OF COORD]: node 1 is process ${PIDS[0]}.
start_cluster() {
  local nodes="$1" addresses=""
  shift
  for number in $(seq "$nodes"); do
    local address="127.0.0.1:$((PORT + number))"
    "$DFS" node --id "n$number" --listen "$address" --data "$WORK/n$number" >"$WORK/n$number.log" 2>&1 &
    PIDS+=($!)
    addresses="$addresses${addresses:+,}$address"
  done
  "$DFS" coord --listen "$DFS_SIM_COORD" --nodes "$addresses" --data "$WORK/coord" \
    --delete-grace 1s "$@" >"$WORK/coord.log" 2>&1 &
  PIDS+=($!)
  for _ in $(seq 100); do
    if "$DFS" status --exit-code >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  cat "$WORK/coord.log" >&2
  exit 1
}

# make_file random|text FILE
make_file() {
  case "$1" in
    random) head -c "${MIB}M" /dev/urandom >"$2" ;;
    text) seq -f 'row %012.0f: this user waited for an answer' 1000000000 | head -c "${MIB}M" >"$2" || true ;;
  esac
}

# measure NAME [HYPERFINE FLAGS] COMMAND: MB/s of the file, the client's CPU-seconds.
measure() {
  local name="$1"
  shift
  hyperfine --style none --warmup 1 --runs "$RUNS" --export-csv "$WORK/run.csv" "$@" >/dev/null
  awk -F, -v name="$name" -v mib="$MIB" 'NR == 2 {
    bytes = mib * 1048576 / 1e6
    printf "%-28s %7.0f MB/s   median %6.2f s   min %6.2f s   max %6.2f s   client CPU %5.2f s\n",
      name, bytes / $4, $4, $7, $8, $5 + $6
  }' "$WORK/run.csv"
}
