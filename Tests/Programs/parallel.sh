#!/bin/bash
# GNU parallel with four jobs at a time, their output in order. It has temporary files in the folder that TMPDIR names.
jobs=$(echo "${SCALE:-1}" | awk '{ print int(60 * $1) }')
export PARALLEL_HOME=$PWD/.parallel
mkdir -p "$PARALLEL_HOME"
echo START
seq 1 "$jobs" | /usr/bin/parallel --will-cite -j 4 -k 'echo {}; seq 1 {} | tail -n 1' |
    awk '{ if ($1 != int((NR + 1) / 2)) wrong = wrong " " NR; sum += $1 } END { print (wrong == "" ? "RESULT" : "FAIL"), NR, sum, wrong }'
