#!/usr/bin/env bash
# How long reading and healing take when a node is lost.
source "$(dirname "$0")/lib.sh"

make_file random "$WORK/file"
start_cluster 7 --repair-after 60s
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
until "$DFS" status --json | grep -q '"running":[1-9]'; do sleep 0.1; done
begun_at=$SECONDS
until "$DFS" status --exit-code >/dev/null 2>&1; do sleep 0.1; done
echo "repair began $((begun_at - lost_at)) s after the kill (60 s of them are --repair-after) and took $((SECONDS - begun_at)) s"
