// Keyrings of the program's own: a session keyring it, or the program before it, has joined, one of the process, one of a
// thread. Keys would be gone after a restart.
// @cases session exec process thread
// @refused keys cannot be saved
#include "workload.h"
#include <linux/keyctl.h>
#include <sys/syscall.h>

static void own_keyring(const char *word) {
    long result;
    if (strcmp(word, "process") == 0 || strcmp(word, "thread") == 0)
        result = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID,
                         strcmp(word, "thread") == 0 ? KEY_SPEC_THREAD_KEYRING : KEY_SPEC_PROCESS_KEYRING, 1);
    else
        result = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    if (result < 0)
        workload_skip("keyctl: %s", strerror(errno));
}

int main(int count, char **words) {
    const char *word = count > 1 ? words[1] : "session";
    bool again = getenv("JOINED") != NULL;
    if (!again)
        own_keyring(word);
    if (strcmp(word, "exec") == 0 && !again) {
        setenv("JOINED", "1", 1);
        execv("/proc/self/exe", words);
        workload_fail("execv: %s", strerror(errno));
    }
    workload_ready();
    workload_wait();
    workload_pass();
}
