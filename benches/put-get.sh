#!/usr/bin/env bash
# PUT and GET against replication factor and parity, through the command line.
source "$(dirname "$0")/lib.sh"

make_file random "$WORK/file"
start_cluster 9
echo "$MIB MiB of random bytes, 9 nodes, each put fsynced; $RUNS runs"
for policy in "1 none" "2 none" "3 none" "1 xor:4" "1 rs:4+2" "1 rs:6+3"; do
  read -r copies parity <<<"$policy"
  measure "put R=$copies $parity" \
    "$DFS put $WORK/file --name file --force -q --replication $copies --parity $parity"
  measure "get R=$copies $parity" "$DFS get file --out $WORK/out --force -q"
done
