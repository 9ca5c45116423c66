// C that Swift needs and nothing more: what the compiler cannot reach from Swift.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "uring.h"

#ifdef __cplusplus
extern "C" {
#endif

/// CRC-32C (Castagnoli, reflected, polynomial 0x1EDC6F41) of `length` bytes, continuing from `crc`.
/// `crc` is the plain checksum of what came before (0 at the start); inversion is done inside, so that
/// `nacre_crc32c(nacre_crc32c(0, a), b)` equals the checksum of a followed by b.
uint32_t nacre_crc32c(uint32_t crc, const void *data, size_t length);

#ifdef __cplusplus
}
#endif
