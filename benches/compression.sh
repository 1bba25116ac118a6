#!/usr/bin/env bash
# Compression ratio against what it costs.
source "$(dirname "$0")/lib.sh"

start_cluster 3
echo "$MIB MiB, 3 nodes, R=1; $RUNS runs"
for kind in random text; do
  make_file "$kind" "$WORK/file"
  for codec in none lz4; do
    measure "put $kind, $codec" \
      "$DFS put $WORK/file --name file --force -q --replication 1 --compression $codec"
    measure "get $kind, $codec" "$DFS get file --out $WORK/out --force -q"
    "$DFS" stat file --json | awk -v RS=, -F: '
      /"logical_bytes"/ { logical = $2 } /"stored_bytes"/ && !stored { stored = $2 }
      END { printf "%-28s %7.1f %% of its bytes are stored\n", "", 100 * stored / logical }'
  done
done
