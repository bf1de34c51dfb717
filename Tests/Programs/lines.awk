# Over a large file, its output growing.
NR == 1 { print "START"; fflush() }
{ count[$2]++; sum += $1; print $1 * 3, toupper($2) > "awk.txt" }
END {
    close("awk.txt")
    while ((getline line < "awk.txt") > 0) written++
    print "RESULT", NR, sum, length(count), written
}
