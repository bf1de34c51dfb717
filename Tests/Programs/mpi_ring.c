// A few ranks: an all-reduce and a ring, whose numbers are known beforehand.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// One round; the token goes round from rank 0 and comes back with a hop more for each rank.
static long long play(int rank, int ranks, long long round) {
    long long own = round * (rank + 1), sum = 0, token = round;
    MPI_Allreduce(&own, &sum, 1, MPI_LONG_LONG, MPI_SUM, MPI_COMM_WORLD);
    if (sum != round * ranks * (ranks + 1) / 2)
        return -1;
    if (rank == 0)
        MPI_Send(&token, 1, MPI_LONG_LONG, 1, 7, MPI_COMM_WORLD);
    MPI_Recv(&token, 1, MPI_LONG_LONG, (rank + ranks - 1) % ranks, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    token++;
    if (rank != 0)
        MPI_Send(&token, 1, MPI_LONG_LONG, (rank + 1) % ranks, 7, MPI_COMM_WORLD);
    return rank != 0 || token == round + ranks ? sum : -1;
}

// What a rank prints goes through the launcher, which may lose it when a rank aborts: a file may be named instead.
static void tell_result(int rounds, long long total) {
    const char *path = getenv("RING_RESULT");
    FILE *out = path ? fopen(path, "w") : stdout;
    if (!out)
        MPI_Abort(MPI_COMM_WORLD, 1);
    fprintf(out, "RESULT %d %lld\n", rounds, total);
    fflush(out);
}

// The ranks connect one after the other. Where two connect to each other at once, Open MPI drops one of the connections, and
// the port of its listener, which does not allow reuse, cannot be had again for a minute.
static void connect_in_turn(int rank, int ranks) {
    int token = 0;
    if (rank > 0)
        MPI_Recv(&token, 1, MPI_INT, rank - 1, 8, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Send(&token, 1, MPI_INT, (rank + 1) % ranks, 8, MPI_COMM_WORLD);
    if (rank == 0)
        MPI_Recv(&token, 1, MPI_INT, ranks - 1, 8, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

int main(int count, char **words) {
    const char *scale = getenv("SCALE");
    int rank, ranks, rounds = (int)(100 * (scale ? atof(scale) : 1));
    long long total = 0;
    MPI_Init(&count, &words);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    connect_in_turn(rank, ranks);
    if (rank == 0)
        puts("START");
    fflush(stdout);
    for (int round = 0; round < rounds; round++) {
        long long sum = play(rank, ranks, round);
        if (sum < 0) {
            printf("FAIL rank %d, round %d\n", rank, round);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
        total += sum;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    if (rank == 0)
        tell_result(rounds, total);
    MPI_Barrier(MPI_COMM_WORLD);
    if (getenv("RING_ABORTS")) // where MPI_Finalize hangs by itself
        MPI_Abort(MPI_COMM_WORLD, 0);
    MPI_Finalize();
    return 0;
}
