#!/bin/bash
# ffmpeg in a pipeline: sound is made, compressed, decompressed; what comes out is what went in.
seconds=$(echo "${SCALE:-1}" | awk '{ print int(60 * $1) }')
ffmpeg() { /usr/bin/ffmpeg -nostdin -loglevel error "$@"; }
sound() { ffmpeg -f lavfi -i "aevalsrc=sin(440*2*PI*t)*sin(3*t)|sin(n*n/9000):s=44100:d=$seconds" -f s16le -; }
raw=(-f s16le -ar 44100 -ac 2)
echo START
sum=$(sound | tee >(md5sum > before) | ffmpeg "${raw[@]}" -i - -c:a flac -f flac - | ffmpeg -f flac -i - "${raw[@]}" - | md5sum)
until [ -s before ]; do sleep 0.01; done
[ "$sum" = "$(cat before)" ] && echo "RESULT $sum" || echo "FAIL $sum $(cat before)"
