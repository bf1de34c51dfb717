#!/bin/bash
# Pipelines, background jobs and their statuses, command substitutions. A file for each round: one that nobody has open at a
# checkpoint stays as the killed program left it.
rounds=$(echo "${SCALE:-1}" | awk '{ print int(60 * $1) }')
echo START
sum=0
for ((i = 1; i <= rounds; i++)); do
    found=$(seq 1 200 | grep 7 | wc -l)
    (exit $((i % 7))) &
    one=$!
    { seq 1 50 | tr '\n' '+'; echo 0; } > "expression-$i" &
    two=$!
    wait $one
    status=$?
    wait $two || exit 1
    [ $status = $((i % 7)) ] || { echo "FAIL status $status in round $i"; exit 1; }
    sum=$((sum + found * status + $(cat "expression-$i")))
done
echo "RESULT $rounds $sum"
