#define _GNU_SOURCE
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

// What is known of an operation in flight; the kernel carries its index.
struct slot {
    uint64_t tag;
    uint32_t expected;  // bytes it must move; fewer are an error
    uint32_t next;      // the next free slot
};

struct nacre_ring {
    struct io_uring ring;
    int enabled;
    int deferred;  // completions are posted only when we ask (DEFER_TASKRUN)
    struct slot *slots;
    uint32_t capacity;
    uint32_t free;  // first free slot; `capacity` when there is none
};

int nacre_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int nacre_open_direct(const char *path, int create) {
    return open(path, O_RDWR | O_CLOEXEC | O_DIRECT | (create ? O_CREAT | O_EXCL : 0), 0600);
}

int nacre_punch_hole(int fd, uint64_t offset, uint64_t length) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
}

int64_t nacre_write_at(int fd, const struct iovec *from, unsigned count, uint64_t offset, int durable) {
    size_t expected = 0;
    for (unsigned n = 0; n < count; n++) expected += from[n].iov_len;
    ssize_t done;
    do done = pwritev2(fd, from, (int)count, (off_t)offset, durable ? RWF_DSYNC : 0);
    while (done < 0 && errno == EINTR);
    if (done < 0 && durable && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        // A system that does not know the flag: the same in two steps.
        do done = pwritev(fd, from, (int)count, (off_t)offset);
        while (done < 0 && errno == EINTR);
        if (done >= 0 && fdatasync(fd) != 0) done = -1;
    }
    if (done < 0) return -errno;
    return (size_t)done < expected ? -EIO : done;
}

int64_t nacre_read_at(int fd, void *into, size_t count, uint64_t offset) {
    ssize_t done;
    do done = pread(fd, into, count, (off_t)offset);
    while (done < 0 && errno == EINTR);
    if (done < 0) return -errno;
    return (size_t)done < count ? -EIO : done;
}

int64_t nacre_allocate_at(int fd, uint64_t offset, uint64_t length) {
    int result;
    do result = fallocate(fd, 0, (off_t)offset, (off_t)length);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

nacre_ring *nacre_ring_create(unsigned entries, int eventfd, int *error) {
    nacre_ring *self = calloc(1, sizeof *self);
    if (!self) {
        *error = ENOMEM;
        return NULL;
    }
    // From the best to what every kernel with io_uring has. Disabled at first: the submitter is the thread that enables it.
    const unsigned wanted[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int result = -EINVAL;
    for (size_t n = 0; n < sizeof wanted / sizeof *wanted && result == -EINVAL; n++) {
        struct io_uring_params params;
        memset(&params, 0, sizeof params);
        params.flags = wanted[n] | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
        params.cq_entries = entries * 4;
        result = io_uring_queue_init_params(entries, &self->ring, &params);
        self->deferred = (wanted[n] & IORING_SETUP_DEFER_TASKRUN) != 0;
    }
    if (result == 0) {
        result = io_uring_register_eventfd(&self->ring, eventfd);
        if (result < 0) io_uring_queue_exit(&self->ring);
    }
    if (result < 0) {
        free(self);
        *error = -result;
        return NULL;
    }
    return self;
}

void nacre_ring_destroy(nacre_ring *self) {
    io_uring_queue_exit(&self->ring);
    free(self->slots);
    free(self);
}

static int enable(nacre_ring *self) {
    if (self->enabled) return 0;
    // The library of Debian 12 declares io_uring_enable_rings and does not export it.
    if (syscall(__NR_io_uring_register, self->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0) return -errno;
    self->ring.flags &= ~IORING_SETUP_R_DISABLED;
    self->enabled = 1;
    return 0;
}

int nacre_ring_submit(nacre_ring *self) {
    if (io_uring_sq_ready(&self->ring) == 0) return 0;
    int result = enable(self);
    while (result >= 0 && io_uring_sq_ready(&self->ring) > 0) {
        result = io_uring_submit(&self->ring);
        // The completion queue is full or the kernel is short of memory for a moment: make room and go on.
        if (result == -EBUSY || result == -EAGAIN || result == -EINTR) {
            if (result != -EINTR) io_uring_get_events(&self->ring);
            result = 0;
        }
    }
    return result < 0 ? result : 0;
}

// Gives the operation a slot. False when there is no memory.
static int name(nacre_ring *self, struct io_uring_sqe *sqe, uint64_t tag, uint32_t expected) {
    if (self->free == self->capacity) {
        uint32_t more = self->capacity ? self->capacity * 2 : 256;
        struct slot *slots = realloc(self->slots, more * sizeof *slots);
        if (!slots) {
            io_uring_prep_nop(sqe);
            io_uring_sqe_set_data64(sqe, UINT64_MAX);
            return -ENOMEM;
        }
        for (uint32_t n = self->capacity; n < more; n++) slots[n].next = n + 1;
        self->slots = slots;
        self->capacity = more;
    }
    uint32_t index = self->free;
    self->free = self->slots[index].next;
    self->slots[index].tag = tag;
    self->slots[index].expected = expected;
    io_uring_sqe_set_data64(sqe, index);
    return 0;
}

static struct io_uring_sqe *next(nacre_ring *self, int *error) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
    if (!sqe) {
        // Full: what is queued goes out now, the owner notices nothing.
        *error = nacre_ring_submit(self);
        if (*error == 0) sqe = io_uring_get_sqe(&self->ring);
        if (!sqe && *error == 0) *error = -EBUSY;
    }
    return sqe;
}

int nacre_ring_write(nacre_ring *self, int fd, const void *from, unsigned count, uint64_t offset, int durable,
                     uint64_t tag) {
    int error = 0;
    struct io_uring_sqe *sqe = next(self, &error);
    if (!sqe) return error;
    io_uring_prep_write(sqe, fd, from, count, offset);
    if (durable) sqe->rw_flags = RWF_DSYNC;
    return name(self, sqe, tag, count);
}

int nacre_ring_writev(nacre_ring *self, int fd, const struct iovec *from, unsigned count, uint64_t offset, int durable,
                      uint64_t tag) {
    int error = 0;
    struct io_uring_sqe *sqe = next(self, &error);
    if (!sqe) return error;
    io_uring_prep_writev(sqe, fd, from, count, offset);
    if (durable) sqe->rw_flags = RWF_DSYNC;
    size_t expected = 0;
    for (unsigned n = 0; n < count; n++) expected += from[n].iov_len;
    return name(self, sqe, tag, (uint32_t)expected);
}

int nacre_ring_read(nacre_ring *self, int fd, void *into, unsigned count, uint64_t offset, uint64_t tag) {
    int error = 0;
    struct io_uring_sqe *sqe = next(self, &error);
    if (!sqe) return error;
    io_uring_prep_read(sqe, fd, into, count, offset);
    return name(self, sqe, tag, count);
}

int nacre_ring_datasync(nacre_ring *self, int fd, uint64_t tag) {
    int error = 0;
    struct io_uring_sqe *sqe = next(self, &error);
    if (!sqe) return error;
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    return name(self, sqe, tag, 0);
}

int nacre_ring_allocate(nacre_ring *self, int fd, uint64_t offset, uint64_t length, uint64_t tag) {
    int error = 0;
    struct io_uring_sqe *sqe = next(self, &error);
    if (!sqe) return error;
    io_uring_prep_fallocate(sqe, fd, 0, offset, length);
    return name(self, sqe, tag, 0);
}

// Has the kernel post what is finished. It announces operations that it finishes, and then once more that it has posted them,
// which would wake the owner for nothing: announcements are off meanwhile, and what finished unannounced is looked for.
static void post(nacre_ring *self) {
    io_uring_cq_eventfd_toggle(&self->ring, false);
    io_uring_get_events(&self->ring);
    io_uring_cq_eventfd_toggle(&self->ring, true);
    // On before the look: whoever finishes something sees the one, or is seen by the other.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    unsigned flags = __atomic_load_n(self->ring.sq.kflags, __ATOMIC_ACQUIRE);
#ifndef __x86_64__
    // Elsewhere the kernel sets the flag without a barrier behind it.
    flags |= IORING_SQ_TASKRUN;
#endif
    // Announced, since that may be more than it posts at once. Once: the flag may be left over from what is posted already.
    if (flags & IORING_SQ_TASKRUN) io_uring_get_events(&self->ring);
}

unsigned nacre_ring_reap(nacre_ring *self, nacre_completion *into, unsigned limit) {
    if (!self->enabled) return 0;
    if (self->deferred) post(self);
    else if (io_uring_cq_has_overflow(&self->ring)) io_uring_get_events(&self->ring);
    unsigned head, count = 0, seen = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&self->ring, head, cqe) {
        if (count == limit) break;
        seen++;
        if (cqe->user_data == UINT64_MAX) continue;
        struct slot *slot = &self->slots[cqe->user_data];
        into[count].tag = slot->tag;
        into[count].result = cqe->res >= 0 && (uint32_t)cqe->res < slot->expected ? -EIO : cqe->res;
        slot->next = self->free;
        self->free = (uint32_t)cqe->user_data;
        count++;
    }
    io_uring_cq_advance(&self->ring, seen);
    return count;
}

int nacre_ring_wait(nacre_ring *self) {
    struct io_uring_cqe *cqe;
    int result = enable(self);
    while (result >= 0) {
        result = io_uring_wait_cqe(&self->ring, &cqe);
        if (result == -EINTR) result = 0; else break;
    }
    return result < 0 ? result : 0;
}
