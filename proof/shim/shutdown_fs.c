/* For the rig `power`: shuts down the file system that a path is on, as if the machine stopped. What was not yet written
 * is gone, the log is not flushed, and every later write fails with EIO. Prints when it began and when it was done, in ns
 * of the monotonic clock. Root only. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

/* EXT4_IOC_SHUTDOWN and its flag, which no header of the C library has. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_LOG_FLUSH 2

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int count, char **arguments) {
    uint32_t how = WITHOUT_LOG_FLUSH;
    int fd = count == 2 ? open(arguments[1], O_RDONLY | O_DIRECTORY) : -1;
    long long began = now();
    if (fd < 0 || ioctl(fd, SHUTDOWN, &how) != 0) {
        perror("shutdown_fs");
        return 1;
    }
    printf("%lld %lld\n", began, now());
    return 0;
}
