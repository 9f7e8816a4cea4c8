/* Which attached processes are still there: each holds a lock on its byte of a file beside the
 * state, and the system takes the lock away when the process ends, however it ends. The locks belong
 * to open file descriptions (OFD), so that closing some other descriptor of the file drops nothing.
 */
#ifndef ZT_LIVENESS_H
#define ZT_LIVENESS_H

#if defined(__linux__)
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZT_LIVENESS 1

static inline int slot_set(int fd, long slot, short kind)
{
    struct flock lock = {0};
    lock.l_type = kind;
    lock.l_whence = SEEK_SET;
    lock.l_start = slot + 1; /* byte 0 is who creates or attaches */
    lock.l_len = 1;
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Take a slot's lock; 0 where a living process has it. */
static inline int slot_lock(int fd, long slot) { return slot_set(fd, slot, F_WRLCK); }
static inline void slot_unlock(int fd, long slot) { slot_set(fd, slot, F_UNLCK); }

/* Put a private copy of a file in the place where it is mapped for all; 0 where PATH is another file by now. */
static inline int map_apart(void *at, size_t size, const char *path, unsigned long inode)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC), done = 0;
    if (fd >= 0) {
        done = fstat(fd, &found) == 0 && found.st_ino == inode
            && mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) != MAP_FAILED;
        close(fd);
    }
    return done;
}

/* Descriptors that a forked child must not keep: it would hold its parent's locks beyond the parent's end. */
#define FORK_MOST 256
static int fork_fds[FORK_MOST];

static void fork_close(void)
{
    for (int i = 0; i < FORK_MOST; i++)
        if (fork_fds[i] > 0) {
            close(fork_fds[i] - 1);
            fork_fds[i] = 0;
        }
}

static inline void fork_watch(int fd)
{
    static int registered;
    if (!registered) {
        registered = 1;
        pthread_atfork(0, 0, fork_close);
    }
    for (int i = 0; i < FORK_MOST; i++)
        if (fork_fds[i] == 0) {
            fork_fds[i] = fd + 1;
            return;
        }
}

static inline void fork_unwatch(int fd)
{
    for (int i = 0; i < FORK_MOST; i++)
        if (fork_fds[i] == fd + 1)
            fork_fds[i] = 0;
}

static inline int thread_start(pthread_t *thread, void *(*run)(void *), void *with)
{
    return pthread_create(thread, 0, run, with) == 0;
}
static inline void thread_join(pthread_t thread) { pthread_join(thread, 0); }

#else

#define ZT_LIVENESS 0
typedef int pthread_t;
static inline int slot_lock(int fd, long slot) { return 0; }
static inline void slot_unlock(int fd, long slot) {}
static inline int map_apart(void *at, size_t size, const char *path, unsigned long inode) { return 0; }
static inline void fork_watch(int fd) {}
static inline void fork_unwatch(int fd) {}
static inline int thread_start(pthread_t *thread, void *(*run)(void *), void *with) { return 0; }
static inline void thread_join(pthread_t thread) {}

#endif
#endif
