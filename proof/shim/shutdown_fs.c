/* For the rig `power`: shuts down the file system that a path is on, as if the machine stopped. What was not yet written
 * is gone, the log is not flushed, and every later write fails with EIO. Root only. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

/* EXT4_IOC_SHUTDOWN and its flag, which no header of the C library has. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_LOG_FLUSH 2

int main(int count, char **arguments) {
    uint32_t how = WITHOUT_LOG_FLUSH;
    int fd = count == 2 ? open(arguments[1], O_RDONLY | O_DIRECTORY) : -1;
    if (fd < 0 || ioctl(fd, SHUTDOWN, &how) != 0) {
        perror("shutdown_fs");
        return 1;
    }
    return 0;
}
