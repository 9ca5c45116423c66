#pragma once
#include <stdint.h>

/// How often the calling thread has asked for memory since it began: every malloc, calloc, realloc and aligned allocation of
/// the process, counted where the allocator is entered.
uint64_t allocation_count(void);
