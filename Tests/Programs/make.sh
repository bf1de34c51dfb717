#!/bin/bash
# make -j4 builds a C project of many small files; what it builds adds up their numbers. What make has done to the file system
# since a checkpoint is not undone: objects appear whole, else make would take half of one for done after a kill; and the step
# that makes them whole can be done twice. With -pipe: no temporary files are handed on from one process to the next.
files=$(echo "${SCALE:-1}" | awk '{ print int(80 * $1) }')
echo START
mkdir -p project && cd project || exit 1
if [ ! -e Makefile ]; then
    for ((i = 1; i <= files; i++)); do
        printf '#include <stdio.h>\n#include <stdlib.h>\nint part%d(int x) { return x * %d; }\n' $i $i > part$i.c
    done
    {
        echo '#include <stdio.h>'
        for ((i = 1; i <= files; i++)); do echo "int part$i(int);"; done
        echo 'int main(void) { int sum = 0;'
        for ((i = 1; i <= files; i++)); do echo "sum += part$i(3);"; done
        echo 'printf("%d\n", sum); return 0; }'
    } > main.c
    printf 'OBJECTS = main.o %s\nprogram: $(OBJECTS)\n\tgcc -o $@ $(OBJECTS)\n%%.o: %%.c\n\tgcc -O2 -pipe -c -o $@.new $<\n\t@mv $@.new $@ 2> /dev/null || test -s $@\n' \
        "$(for ((i = 1; i <= files; i++)); do printf 'part%d.o ' $i; done)" > Makefile
fi
make -s -j4 || { echo "FAIL make"; exit 1; }
echo "RESULT $files $(./program)"
