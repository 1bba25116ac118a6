#!/usr/bin/env bash
# How long reading and healing take when a node is lost.
source "$(dirname "$0")/lib.sh"

make_file random "$WORK/file"
REPAIR_AFTER=30
start_cluster 7 --repair-after "${REPAIR_AFTER}s"
echo "$MIB MiB of random bytes, 7 nodes; $RUNS runs"
"$DFS" put "$WORK/file" --name copies --replication 2 -q
"$DFS" put "$WORK/file" --name parity --replication 1 --parity rs:4+2 -q
measure "get R=2, healthy" "$DFS get copies --out $WORK/out --force -q"
measure "get rs:4+2, healthy" "$DFS get parity --out $WORK/out --force -q"
kill -9 "${PIDS[0]}"
lost_at=$SECONDS
measure "get R=2, a node killed" "$DFS get copies --out $WORK/out --force -q"
measure "get rs:4+2, a node killed" "$DFS get parity --out $WORK/out --force -q"
cmp "$WORK/file" "$WORK/out"
# Whole again: every stripe is full, whatever status thinks of the lost node.
is_whole() { "$DFS" status | grep -Eq '^stripes +[0-9]+ full$'; }
until ! is_whole; do sleep 0.1; done
until "$DFS" status | grep -Eq '^repair .*(running|done)'; do sleep 0.1; done
begun_at=$SECONDS
until is_whole; do sleep 0.1; done
echo "repair began $((begun_at - lost_at)) s after the kill, of which $REPAIR_AFTER s are --repair-after, and took $((SECONDS - begun_at)) s:"
"$DFS" status | grep '^repair'
