/*
 * Makes one system call fail, for the files of one store: preloaded into the gateway by the rig `syscall`.
 *
 * It knows nothing of the gateway. What it does is said by environment variables:
 *
 *   FAULT_STORE   the database file; every path that begins with it counts, and the directory that it is in
 *   FAULT_BOARD   a file of 4096 bytes, shared with the rig: counters from here, `healed` from there
 *   FAULT_CALL    which call fails, a name of `NAMES`; without it calls are only counted
 *   FAULT_K       the how-manieth such call of the process fails, from 1
 *   FAULT_KIND    EIO, ENOSPC, EINTR, ENOMEM, ENOLCK, EMFILE: fails with that, nothing is done
 *                 short: half of the bytes;  stall: 5 s late;  lie: says that it was done
 *   FAULT_STICKY  1: so does every later one, until `healed` (EINTR: 64 of them, stall: 2, for no kernel
 *                 interrupts for ever)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum call { FSYNC, FDATASYNC, WRITE, FTRUNCATE, OPEN, RENAME, UNLINK, MMAP, READ, LOCK, CALLS };
static const char *const NAMES[CALLS] = {
    "fsync", "fdatasync", "write", "ftruncate", "open", "rename", "unlink", "mmap", "read", "lock"};

enum kind { NONE, FAIL, SHORT, STALL, LIE };

/* The slots of the board, as 64-bit words. */
enum { HEALED = 0, FIRED = 1, SYNC_FAILED_AT = 2, REOPENED_AT = 3, RESYNCED_AT = 4, COUNT = 8, FIRED_OF = 24 };

#define FILES_MAX 65536
enum { OTHER, STORE_FILE, DATABASE, DIRECTORY };
static _Atomic unsigned char what_is[FILES_MAX];

static _Atomic uint64_t nowhere[64];
static _Atomic uint64_t *board = nowhere;
static const char *store;
static size_t store_length, directory_length;
static int chosen = -1, failing_errno;
static enum kind kind;
static uint64_t chosen_k, times_max;

static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_close)(int);
static int (*real_ftruncate)(int, off64_t), (*real_openat)(int, const char *, int, ...);
static int (*real_rename)(const char *, const char *), (*real_unlink)(const char *);
static int (*real_fcntl)(int, int, ...);
static void *(*real_mmap)(void *, size_t, int, int, int, off64_t);
static ssize_t (*real_write)(int, const void *, size_t), (*real_read)(int, void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t), (*real_pread)(int, void *, size_t, off64_t);

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void read_kind(const char *text) {
    static const struct { const char *name; int number; } errors[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EINTR", EINTR}, {"ENOMEM", ENOMEM}, {"ENOLCK", ENOLCK}, {"EMFILE", EMFILE}};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strcmp(text, errors[i].name)) kind = FAIL, failing_errno = errors[i].number;
    if (!strcmp(text, "short")) kind = SHORT;
    if (!strcmp(text, "stall")) kind = STALL;
    if (!strcmp(text, "lie")) kind = LIE;
    if (kind == NONE) abort();
}

static void read_orders(void) {
    const char *call = getenv("FAULT_CALL"), *k = getenv("FAULT_K"), *text = getenv("FAULT_KIND");
    const char *sticky = getenv("FAULT_STICKY");
    if (!call || !k || !text) return;
    for (int i = 0; i < CALLS; i++)
        if (!strcmp(call, NAMES[i])) chosen = i;
    if (chosen < 0) abort();
    read_kind(text);
    chosen_k = strtoull(k, NULL, 10);
    times_max = 1;
    if (sticky && *sticky == '1') times_max = failing_errno == EINTR ? 64 : kind == STALL ? 2 : UINT64_MAX;
}

__attribute__((constructor)) static void begin(void) {
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_close = dlsym(RTLD_NEXT, "close");
    *(void **)&real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    *(void **)&real_openat = dlsym(RTLD_NEXT, "openat64");
    *(void **)&real_rename = dlsym(RTLD_NEXT, "rename");
    *(void **)&real_unlink = dlsym(RTLD_NEXT, "unlink");
    *(void **)&real_fcntl = dlsym(RTLD_NEXT, "fcntl64");
    *(void **)&real_mmap = dlsym(RTLD_NEXT, "mmap64");
    *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    *(void **)&real_read = dlsym(RTLD_NEXT, "read");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    *(void **)&real_pread = dlsym(RTLD_NEXT, "pread64");
    const char *path = getenv("FAULT_BOARD");
    store = getenv("FAULT_STORE");
    if (!store || !path) return;
    store_length = strlen(store);
    const char *slash = strrchr(store, '/');
    directory_length = slash ? (size_t)(slash - store) : 0;
    int fd = real_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) abort();
    void *map = real_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) abort();
    real_close(fd);
    board = map;
    read_orders();
}

static int is_of_the_store(const char *path) {
    if (!store) return OTHER;
    if (!strncmp(path, store, store_length)) return path[store_length] ? STORE_FILE : DATABASE;
    int is_directory = !strncmp(path, store, directory_length) && !path[directory_length];
    return is_directory ? DIRECTORY : OTHER;
}

static int of(int fd) {
    return fd >= 0 && fd < FILES_MAX ? what_is[fd] : OTHER;
}

/* Counts a call of the process, and says whether and how it fails. */
static enum kind meets(enum call call) {
    static _Atomic uint64_t calls[CALLS], fired;
    uint64_t k = atomic_fetch_add(&calls[call], 1) + 1;
    atomic_fetch_add(&board[COUNT + call], 1);
    if ((int)call != chosen || k < chosen_k || board[HEALED]) return NONE;
    if (atomic_fetch_add(&fired, 1) >= times_max) return NONE;
    atomic_fetch_add(&board[FIRED_OF + call], 1);
    atomic_fetch_add(&board[FIRED], 1);
    return kind;
}

/* Whether the call is to fail; a stall is over when this returns. */
static int fails(enum call call) {
    switch (meets(call)) {
    case FAIL:
        errno = failing_errno;
        return 1;
    case STALL: {
        struct timespec left = {5, 0};
        while (nanosleep(&left, &left)) {}
        return 0;
    }
    default:
        return 0;
    }
}

/*
 * Whether a name in the directory came or went since it was synced. Where none did, a sync of it that fails loses
 * nothing: SQLite asks for one with the first sync of each log that it opens, and goes on where it fails.
 */
static _Atomic int has_new_names = 1;

static int sync_with(int (*real)(int), enum call call, int fd) {
    if (!of(fd)) return real(fd);
    enum kind how = meets(call);
    if (how == LIE) return 0;
    if (how == FAIL) {
        if (of(fd) != DIRECTORY || has_new_names) {
            board[SYNC_FAILED_AT] = now();
            board[REOPENED_AT] = board[RESYNCED_AT] = 0;
        }
        errno = failing_errno;
        return -1;
    }
    if (how == STALL) {
        struct timespec left = {5, 0};
        while (nanosleep(&left, &left)) {}
    }
    int result = real(fd);
    if (!result && of(fd) == DIRECTORY) has_new_names = 0;
    if (!result && of(fd) == DATABASE && board[REOPENED_AT] && !board[RESYNCED_AT]) board[RESYNCED_AT] = now();
    return result;
}

int fsync(int fd) { return sync_with(real_fsync, FSYNC, fd); }
int fdatasync(int fd) { return sync_with(real_fdatasync, FDATASYNC, fd); }

static int is_half(enum call call, size_t *size, int *failed) {
    enum kind how = meets(call);
    *failed = how == FAIL;
    if (how == FAIL) errno = failing_errno;
    if (how == SHORT && *size > 1) *size /= 2;
    if (how == STALL) {
        struct timespec left = {5, 0};
        while (nanosleep(&left, &left)) {}
    }
    return *failed;
}

ssize_t write(int fd, const void *from, size_t size) {
    int failed;
    if (of(fd) && is_half(WRITE, &size, &failed)) return -1;
    return real_write(fd, from, size);
}
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
    int failed;
    if (of(fd) && is_half(WRITE, &size, &failed)) return -1;
    return real_pwrite(fd, from, size, at);
}
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { return pwrite64(fd, from, size, at); }
/*
 * Whoever opens a database anew reads its header first, and nobody else reads just that. SQLite may do so through a
 * descriptor that it has still open, because closing it would take away the locks of others.
 */
static void notice_header(int fd, size_t size) {
    if (size == 100 && of(fd) == DATABASE && board[SYNC_FAILED_AT] && !board[REOPENED_AT]) board[REOPENED_AT] = now();
}

ssize_t read(int fd, void *to, size_t size) {
    int failed;
    notice_header(fd, size);
    if (of(fd) && is_half(READ, &size, &failed)) return -1;
    return real_read(fd, to, size);
}
ssize_t pread64(int fd, void *to, size_t size, off64_t at) {
    int failed;
    notice_header(fd, size);
    if (of(fd) && is_half(READ, &size, &failed)) return -1;
    return real_pread(fd, to, size, at);
}
ssize_t pread(int fd, void *to, size_t size, off_t at) { return pread64(fd, to, size, at); }

int ftruncate64(int fd, off64_t length) {
    if (of(fd) && fails(FTRUNCATE)) return -1;
    return real_ftruncate(fd, length);
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int open_at(int directory, const char *path, int flags, mode_t mode) {
    int what = is_of_the_store(path);
    if (what && fails(OPEN)) return -1;
    int is_new = what && (flags & O_CREAT) && access(path, F_OK);
    int fd = real_openat(directory, path, flags, mode);
    if (is_new && fd >= 0) has_new_names = 1;
    if (fd >= 0 && fd < FILES_MAX) what_is[fd] = (unsigned char)what;
    return fd;
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, last); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }
int open(const char *path, int flags, ...) { MODE(flags, flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, flags) return open_at(at, path, flags, mode); }

int close(int fd) {
    if (fd >= 0 && fd < FILES_MAX) what_is[fd] = OTHER;
    return real_close(fd);
}

int rename(const char *from, const char *to) {
    if (is_of_the_store(from) && fails(RENAME)) return -1;
    if (is_of_the_store(from)) has_new_names = 1;
    return real_rename(from, to);
}
int unlink(const char *path) {
    if (is_of_the_store(path) && fails(UNLINK)) return -1;
    if (is_of_the_store(path)) has_new_names = 1;
    return real_unlink(path);
}

void *mmap64(void *where, size_t size, int protection, int flags, int fd, off64_t at) {
    if (of(fd) && fails(MMAP)) return MAP_FAILED;
    return real_mmap(where, size, protection, flags, fd, at);
}
void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t at) {
    return mmap64(where, size, protection, flags, fd, at);
}

static int control(int fd, int command, void *argument) {
    if ((command == F_SETLK || command == F_SETLKW) && of(fd) && fails(LOCK)) return -1;
    return real_fcntl(fd, command, argument);
}
#define ARGUMENT(last) \
    va_list more; \
    va_start(more, last); \
    void *argument = va_arg(more, void *); \
    va_end(more);
int fcntl(int fd, int command, ...) { ARGUMENT(command) return control(fd, command, argument); }
int fcntl64(int fd, int command, ...) { ARGUMENT(command) return control(fd, command, argument); }
