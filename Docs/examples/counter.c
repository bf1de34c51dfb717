/* counter [LAST]: prints 1, 2, 3 ... each second. It knows nothing of SwiftCP. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long last = argc > 1 ? atol(argv[1]) : 0;
    for (long count = 1; last == 0 || count <= last; count++) {
        printf("%ld\n", count);
        fflush(stdout);
        sleep(1);
    }
    return 0;
}
