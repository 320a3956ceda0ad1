/* Loaded into the program under test (LD_PRELOAD): fails fsync, moves the time of day and tells the size of the
 * heap, as a file says that the test writes while the program runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t clock_ms;  /* added to the time of day */
    volatile int64_t countdown; /* syncs that still succeed; below zero nothing fails */
    volatile int64_t lasting;   /* whether all syncs fail after the countdown, or one */
    volatile int64_t calls;     /* syncs so far */
    volatile int64_t failed;    /* of these, failed */
    volatile int64_t asked;     /* number of the last question for the heap */
    volatile int64_t told;      /* number of the question that was answered last */
    volatile int64_t heap;      /* the answer: bytes in use */
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULT_SHIM");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

static int fails(void) {
    if (!control) return 0;
    __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
    if (control->countdown < 0) return 0;
    if (control->countdown > 0) {
        __atomic_sub_fetch(&control->countdown, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (!control->lasting) control->countdown = -1;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = EIO;
    return 1;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails() ? -1 : real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails() ? -1 : real(fd);
}

/* Gives back what is free, so that what stays resident is held, and tells what is in use. */
static void tell(void) {
    static int busy;
    if (!control || control->asked == control->told) return;
    if (__atomic_exchange_n(&busy, 1, __ATOMIC_SEQ_CST)) return;
    int64_t asked = control->asked;
    malloc_trim(0);
    struct mallinfo2 info = mallinfo2();
    control->heap = (int64_t)(info.uordblks + info.hblkhd);
    __atomic_store_n(&control->told, asked, __ATOMIC_SEQ_CST);
    __atomic_store_n(&busy, 0, __ATOMIC_SEQ_CST);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    tell();
    if (result == 0 && control && clock == CLOCK_REALTIME) {
        int64_t ms = at->tv_sec * 1000 + at->tv_nsec / 1000000 + control->clock_ms;
        at->tv_sec = ms / 1000;
        at->tv_nsec = ms % 1000 * 1000000 + at->tv_nsec % 1000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
