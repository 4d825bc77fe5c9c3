/* A wall clock that a test sets, for LD_PRELOAD. OARLOCK_TEST_CLOCK names a file with one int64_t: the milliseconds by which
 * the clock of the process is ahead of the machine's. The file is mapped, so that a change counts at once. Clocks that
 * measure spans are left alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_ms;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("OARLOCK_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = MAP_FAILED;
    if (file >= 0) {
        map = mmap(NULL, sizeof *ahead_ms, PROT_READ, MAP_SHARED, file, 0);
        close(file);
    }
    if (map == MAP_FAILED) {
        fprintf(stderr, "the file OARLOCK_TEST_CLOCK=%s can't be mapped\n", path ? path : "");
        _exit(99);
    }
    ahead_ms = map;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (syscall(SYS_clock_gettime, clock, now) != 0) {
        return -1;
    }
    if (ahead_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ahead = *ahead_ms;
        int64_t ns = now->tv_nsec + ahead % 1000 * 1000000;
        now->tv_sec += ahead / 1000;
        if (ns < 0) {
            ns += 1000000000;
            now->tv_sec -= 1;
        } else if (ns >= 1000000000) {
            ns -= 1000000000;
            now->tv_sec += 1;
        }
        now->tv_nsec = ns;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) {
        return -1;
    }
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) {
        return -1;
    }
    if (out) {
        *out = exact.tv_sec;
    }
    return exact.tv_sec;
}
