/* A machine that fails on demand: preloaded into the daemon (LD_PRELOAD), told what to do through a shared page.
 *
 * - System calls that change files below one folder fail with a given errno, all of them or each n-th.
 * - Syncs may do nothing and say nothing, as disks do that lie.
 * - The wall clock is off by any number of milliseconds.
 * - The machine seems to have been started anew (another boot id).
 * - Host names below `.test` are this machine, or cannot be resolved.
 *
 * The page is written by tests/faults/machine.py; both must agree on `struct page`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, CREATE = 4, RENAME = 8, TRUNCATE = 16, REMOVE = 32 };

struct page {
    int64_t clock_ms;  /* added to the wall clock */
    uint32_t kinds;    /* which calls fail */
    int32_t error;     /* with which errno */
    uint32_t each;     /* each n-th of them; 1: all */
    uint32_t partly;   /* a write that fails writes half of its data first */
    uint64_t counted;  /* calls that might have failed */
    uint64_t failed;   /* those that did */
    uint32_t no_names; /* host names cannot be resolved */
    uint32_t lies;     /* syncs say that they worked, and do nothing */
    char path[256];    /* only files whose path contains this */
    char boot_id[64];  /* another boot id, as the kernel writes it; empty: the true one */
};

static struct page *page;
static char boot_file[512];

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CDPD_FAULTS_PAGE");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return;
    snprintf(boot_file, sizeof boot_file, "%s.boot_id", path);
    page = at;
}

static int fails_at(uint32_t kind, const char *path) {
    if (!page || !(page->kinds & kind) || !strstr(path, page->path)) return 0;
    uint64_t n = __atomic_add_fetch(&page->counted, 1, __ATOMIC_RELAXED);
    if (page->each > 1 && n % page->each) return 0;
    __atomic_add_fetch(&page->failed, 1, __ATOMIC_RELAXED);
    return 1;
}

static int fails(uint32_t kind, int fd) {
    if (!page || !(page->kinds & kind)) return 0;
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0 || path[0] != '/') return 0; /* sockets and pipes are no files */
    path[n] = 0;
    return fails_at(kind, path);
}

#define FAIL return errno = page->error, -1

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (!fails(WRITE, fd)) return real(fd, data, size);
    if (page->partly && size > 1) {
        ssize_t done = real(fd, data, size / 2);
        if (done > 0) return done; /* the rest is tried again, and then fails */
    }
    FAIL;
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    REAL(writev);
    if (fails(WRITE, fd)) FAIL;
    return real(fd, data, count);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    if (fails(WRITE, fd)) FAIL;
    return real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    if (fails(WRITE, fd)) FAIL;
    return real(fd, data, size, at);
}

int fsync(int fd) {
    REAL(fsync);
    if (fails(SYNC, fd)) FAIL;
    if (page && page->lies) return 0;
    return real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    if (fails(SYNC, fd)) FAIL;
    if (page && page->lies) return 0;
    return real(fd);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    if (fails(TRUNCATE, fd)) FAIL;
    return real(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    if (fails(TRUNCATE, fd)) FAIL;
    return real(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate);
    return fails(WRITE, fd) ? page->error : real(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    REAL(posix_fallocate64);
    return fails(WRITE, fd) ? page->error : real(fd, at, size);
}

int rename(const char *old, const char *new) {
    REAL(rename);
    if (fails_at(RENAME, new)) FAIL;
    return real(old, new);
}

int unlink(const char *path) {
    REAL(unlink);
    if (fails_at(REMOVE, path)) FAIL;
    return real(path);
}

static const char *opened(const char *path, int flags, int *error) {
    *error = 0;
    if (page && (flags & O_CREAT) && (page->kinds & CREATE) && access(path, F_OK) && fails_at(CREATE, path))
        *error = page->error;
    if (page && page->boot_id[0] && !strcmp(path, "/proc/sys/kernel/random/boot_id")) return boot_file;
    return path;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        int error; \
        path = opened(path, flags, &error); \
        if (error) return errno = error, -1; \
        return real(path, flags, mode); \
    }

OPEN(open)
OPEN(open64)

int clock_gettime(clockid_t which, struct timespec *now) {
    REAL(clock_gettime);
    int found = real(which, now);
    if (!found && page && page->clock_ms && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ms = page->clock_ms;
        now->tv_sec += ms / 1000;
        now->tv_nsec += ms % 1000 * 1000000;
        if (now->tv_nsec < 0) now->tv_sec--, now->tv_nsec += 1000000000;
        if (now->tv_nsec >= 1000000000) now->tv_sec++, now->tv_nsec -= 1000000000;
    }
    return found;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return (time_t)-1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    REAL(getaddrinfo);
    size_t length = name ? strlen(name) : 0;
    if (page && length > 5 && !strcmp(name + length - 5, ".test"))
        return page->no_names ? EAI_NONAME : real("127.0.0.1", service, hints, found);
    return real(name, service, hints, found);
}
