#!/bin/sh
# xargs starts four workers at a time; their results are added up when all have ended.
count=$(echo "${SCALE:-1}" | awk '{ print int(60 * $1) }')
rm -rf results
mkdir results
echo START
seq 1 "$count" | xargs -P 4 -n 1 sh -c 'awk -v n="$0" "BEGIN { for (i = 0; i < 20000; i++) n = (n * 48271 + 7) % 2147483647; print n }" > "results/$0"' || exit 1
echo "RESULT $count $(cat results/* | sort -n | cksum)"
