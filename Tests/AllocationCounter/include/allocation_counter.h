// How often the calling thread has asked for memory since it began.
#pragma once
#include <stdint.h>
uint64_t allocations_of_this_thread(void);
