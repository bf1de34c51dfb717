/* terminal_program: what a program at a terminal does. Prints a number every 100 ms; on SIGWINCH "size COLUMNSxLINES"; after the
 * argument "read" it reads lines instead and echoes each as "read LINE". */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t resized;

static void note(int number) {
    (void)number;
    resized = 1;
}

static void show_size(void) {
    struct winsize size;
    resized = 0;
    if (ioctl(0, TIOCGWINSZ, &size) == 0)
        printf("size %dx%d\n", size.ws_col, size.ws_row);
    else
        perror("size");
    fflush(stdout);
}

static int echo_lines(void) {
    char line[256];
    puts("reading");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("read %s", line);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGWINCH, note);
    if (argc > 1 && strcmp(argv[1], "read") == 0)
        return echo_lines();
    for (int number = 1;; number++) {
        printf("%d\n", number);
        fflush(stdout);
        nanosleep(&(struct timespec){0, 100000000}, NULL);
        if (resized)
            show_size();
    }
}
