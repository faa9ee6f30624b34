/* For a control of the rig `power`: a process that this is preloaded into believes that its data is on stable storage,
 * and it is not. */
int fsync(int fd) {
    (void)fd;
    return 0;
}

int fdatasync(int fd) {
    (void)fd;
    return 0;
}
