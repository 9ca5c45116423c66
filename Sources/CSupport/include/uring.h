// io_uring for one owner: batched submission, completions announced through an eventfd. The inline functions of liburing
// cannot be reached from Swift, and a call per operation into C is cheaper than a structure per operation.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nacre_ring nacre_ring;

/// One finished operation: what was given as its tag, and bytes or a negative errno. A read or write that moved fewer bytes
/// than asked is -EIO: nobody has to know how much was asked, and no torn write passes for a whole one.
typedef struct {
    uint64_t tag;
    int64_t result;
} nacre_completion;

/// A new eventfd, not blocking and closed on exec; -1 with errno.
int nacre_eventfd(void);
/// Opens a file for direct I/O, closed on exec; with `create` it must not exist. -1 with errno.
int nacre_open_direct(const char *path, int create);

/// Gives the space of a range of the file back to the file system; the file keeps its size. -1 with errno.
int nacre_punch_hole(int fd, uint64_t offset, uint64_t length);

/// The same operations by plain system calls, waiting for the end. Bytes moved, or a negative errno; fewer bytes than asked
/// are -EIO. A `durable` write is on stable storage when it returns.
int64_t nacre_write_at(int fd, const struct iovec *from, unsigned count, uint64_t offset, int durable);
int64_t nacre_read_at(int fd, void *into, size_t count, uint64_t offset);
int64_t nacre_allocate_at(int fd, uint64_t offset, uint64_t length);

/// A ring of `entries` whose completions make `eventfd` readable. It starts disabled and belongs to the thread of the first
/// `nacre_ring_submit`. Null with `*error` set to a positive errno where io_uring is missing or forbidden.
nacre_ring *nacre_ring_create(unsigned entries, int eventfd, int *error);
void nacre_ring_destroy(nacre_ring *ring);

/// Each queues one operation and returns 0, or a negative errno when the ring cannot take it. Buffers (and the vector of
/// buffers) must stay until the completion. `durable` asks for RWF_DSYNC.
int nacre_ring_write(nacre_ring *ring, int fd, const void *from, unsigned count, uint64_t offset, int durable,
                     uint64_t tag);
int nacre_ring_writev(nacre_ring *ring, int fd, const struct iovec *from, unsigned count, uint64_t offset, int durable,
                      uint64_t tag);
int nacre_ring_read(nacre_ring *ring, int fd, void *into, unsigned count, uint64_t offset, uint64_t tag);
int nacre_ring_datasync(nacre_ring *ring, int fd, uint64_t tag);
int nacre_ring_allocate(nacre_ring *ring, int fd, uint64_t offset, uint64_t length, uint64_t tag);

/// Hands everything queued to the kernel in one system call; none when nothing is queued. Negative errno on failure.
int nacre_ring_submit(nacre_ring *ring);
/// Waits until a completion can be reaped. Negative errno on failure.
int nacre_ring_wait(nacre_ring *ring);
/// Lets the kernel post what is finished and copies up to `limit` completions out; returns how many.
unsigned nacre_ring_reap(nacre_ring *ring, nacre_completion *into, unsigned limit);

#ifdef __cplusplus
}
#endif
