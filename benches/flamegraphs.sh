#!/usr/bin/env bash
# Flamegraphs of PUT and GET, of all processes of the cluster: docs/flamegraphs/.
# Besides hyperfine this needs perf, and inferno (cargo install inferno).
source "$(dirname "$0")/lib.sh"
for tool in perf inferno-collapse-perf inferno-flamegraph; do
  command -v "$tool" >/dev/null || { echo "this needs $tool" >&2; exit 2; }
done

make_file random "$WORK/file"
start_cluster 6
mkdir -p docs/flamegraphs
record() {
  local name="$1" title="$2"
  shift 2
  perf record --all-cpus --freq 199 --call-graph dwarf,16384 --output "$WORK/perf" -- "$@" >/dev/null 2>&1
  perf script --input "$WORK/perf" 2>/dev/null | inferno-collapse-perf | grep -v '^swapper' |
    inferno-flamegraph --title "$title" --minwidth 0.4 >"docs/flamegraphs/$name.svg"
  echo "docs/flamegraphs/$name.svg"
}
record put "put of $MIB MiB, rs:4+2" "$DFS" put "$WORK/file" --name file -q --replication 1 --parity rs:4+2
record get "get of $MIB MiB, rs:4+2" "$DFS" get file --out "$WORK/out" -q
