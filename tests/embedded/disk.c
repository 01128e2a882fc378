/* A bad disk, for a process that is started with LD_PRELOAD. While the file $BAD_DISK.slow exists
   fdatasync does not return, and $BAD_DISK.waiting says that somebody waits; while $BAD_DISK.broken
   exists it fails with EIO; while $BAD_DISK.full exists no append-only file takes a byte. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is(const char *what) {
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", getenv("BAD_DISK"), what);
    return access(path, F_OK) == 0;
}

int fdatasync(int fd) {
    if (is("slow")) {
        char path[4096];
        snprintf(path, sizeof path, "%s.waiting", getenv("BAD_DISK"));
        close(open(path, O_CREAT | O_WRONLY, 0600));
        while (is("slow")) usleep(1000);
    }
    if (is("broken")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (strstr(path, ".incr.aof") && is("full")) {
            errno = ENOSPC;
            return -1;
        }
    }
    return syscall(SYS_write, fd, data, size);
}
