/* A slow disk, for LD_PRELOAD: each fsync takes SLOW_SYNC_US longer, and one microsecond more for every SLOW_BYTES_PER_US
 * bytes that were written with pwrite since the last one. Knows nothing of the process that it slows down. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static atomic_long written;

static long setting(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static void rest(void) {
    long per_us = setting("SLOW_BYTES_PER_US"), bytes = atomic_exchange(&written, 0);
    long us = setting("SLOW_SYNC_US") + (per_us > 0 ? bytes / per_us : 0);
    struct timespec left = {us / 1000000, (us % 1000000) * 1000};
    while (us > 0 && nanosleep(&left, &left) != 0) {
    }
}

static int synced(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    rest();
    return real(fd);
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

static ssize_t put(const char *name, int fd, const void *bytes, size_t count, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, name);
    ssize_t done = real(fd, bytes, count, at);
    if (done > 0)
        atomic_fetch_add(&written, done);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return put("pwrite64", fd, bytes, count, at); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return put("pwrite", fd, bytes, count, at); }
