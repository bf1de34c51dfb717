#!/bin/bash
# gcc -pipe: the compiler and the assembler work side by side on one large file after the other.
# Files of each round: what the killed program has written over since a checkpoint is not undone.
rounds=$(echo "${SCALE:-1}" | awk '{ print int(2 * $1) }')
awk 'BEGIN {
    for (i = 1; i <= 200; i++)
        printf "static int f%d(int x, int y) { int s = 0; for (int i = 0; i < x; i++) s += (y ^ i) * %d %% (i + 3); return s; }\n", i, i
    printf "#include <stdio.h>\nint main(void) { unsigned sum = ROUND;\n"
    for (i = 1; i <= 200; i++) printf "sum += f%d(%d, %d);\n", i, i % 17, i % 5
    printf "printf(\"%%u\\n\", sum); return 0; }\n" }' > large.c
echo START
for ((i = 1; i <= rounds; i++)); do
    gcc -pipe -O1 -DROUND=$i -c large.c -o "large-$i.o" || { echo "FAIL gcc in round $i"; exit 1; }
    gcc -pipe "large-$i.o" -o "large-$i" || { echo "FAIL linking in round $i"; exit 1; }
    results="$results $(./large-$i)"
done
echo "RESULT$results"
