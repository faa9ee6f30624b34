/* Makes every fsync and fdatasync of a process slower by SLOW_SYNC_US microseconds: a disk that is far away. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void slow(void) {
    const char *text = getenv("SLOW_SYNC_US");
    long us = text ? atol(text) : 0;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (us > 0 && nanosleep(&left, &left) != 0) {}
}

#define SLOWED(name) \
    int name(int fd) { \
        int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        slow(); \
        return real(fd); \
    }

SLOWED(fsync)
SLOWED(fdatasync)
