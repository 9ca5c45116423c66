#include "csupport.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// The reference path: one table, one byte at a time. It serves machines without a CRC instruction and is what the tests
// compare the fast path with.
static uint32_t table[256];

__attribute__((constructor)) static void fill_table(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int k = 0; k < 8; k++) c = (c & 1) ? (c >> 1) ^ 0x82F63B78u : c >> 1;
        table[n] = c;
    }
}

static uint32_t crc_by_table(uint32_t state, const uint8_t *p, size_t n) {
    while (n--) state = (state >> 8) ^ table[(state ^ *p++) & 0xff];
    return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(uint32_t state, const uint8_t *p, size_t n) {
    uint64_t wide = state;
    while (n >= 32) {
        uint64_t words[4];
        memcpy(words, p, sizeof words);
        wide = _mm_crc32_u64(wide, words[0]);
        wide = _mm_crc32_u64(wide, words[1]);
        wide = _mm_crc32_u64(wide, words[2]);
        wide = _mm_crc32_u64(wide, words[3]);
        p += 32;
        n -= 32;
    }
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        wide = _mm_crc32_u64(wide, word);
        p += 8;
        n -= 8;
    }
    uint32_t narrow = (uint32_t)wide;
    while (n--) narrow = _mm_crc32_u8(narrow, *p++);
    return narrow;
}

// The instruction takes three cycles and one can begin every cycle, so three lanes side by side take a third of the time.
// They are joined by what LANE bytes of zeros do to a state, which is linear: a table for each byte of the state. A block of
// 4096 bytes is three lanes and 16 bytes.
enum { LANE = 1360 };
static uint32_t past_lane[4][256];

static uint32_t skip_lane(uint32_t state) {
    return past_lane[0][state & 0xff] ^ past_lane[1][state >> 8 & 0xff] ^ past_lane[2][state >> 16 & 0xff] ^
           past_lane[3][state >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t crc_by_lanes(uint32_t state, const uint8_t *p, size_t n) {
    while (n >= 3 * LANE) {
        uint64_t first = state, second = 0, third = 0;
        for (size_t at = 0; at < LANE; at += 8) {
            uint64_t words[3];
            memcpy(&words[0], p + at, 8);
            memcpy(&words[1], p + LANE + at, 8);
            memcpy(&words[2], p + 2 * LANE + at, 8);
            first = _mm_crc32_u64(first, words[0]);
            second = _mm_crc32_u64(second, words[1]);
            third = _mm_crc32_u64(third, words[2]);
        }
        state = skip_lane(skip_lane((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
        p += 3 * LANE;
        n -= 3 * LANE;
    }
    return crc_by_instruction(state, p, n);
}

static int has_instruction;
__attribute__((constructor)) static void look_for_instruction(void) {
    has_instruction = __builtin_cpu_supports("sse4.2");
    if (!has_instruction) return;
    static const uint8_t zeros[LANE];
    for (int byte = 0; byte < 4; byte++) {
        for (uint32_t value = 0; value < 256; value++) {
            past_lane[byte][value] = crc_by_instruction(value << 8 * byte, zeros, LANE);
        }
    }
}
#endif

uint32_t nacre_crc32c(uint32_t crc, const void *data, size_t length) {
#if defined(__x86_64__)
    if (has_instruction) return ~crc_by_lanes(~crc, data, length);
#endif
    return ~crc_by_table(~crc, data, length);
}
