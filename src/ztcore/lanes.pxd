# Four floats at once: a lane for each half-life (1, 10, 90 and 30 minutes).

from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from "lanes.h" nogil:
    ctypedef struct f4:
        pass
    f4 f4_all(float x) noexcept
    f4 f4_set(float a, float b, float c, float d) noexcept
    f4 f4_load(const float *p) noexcept
    void f4_store(float *p, f4 a) noexcept
    float f4_lane(f4 a, int i) noexcept
    f4 f4_add(f4 a, f4 b) noexcept
    f4 f4_sub(f4 a, f4 b) noexcept
    f4 f4_mul(f4 a, f4 b) noexcept
    f4 f4_div(f4 a, f4 b) noexcept
    f4 f4_min(f4 a, f4 b) noexcept
    f4 f4_max(f4 a, f4 b) noexcept
    f4 f4_exp2(f4 x) noexcept
    f4 f4_log2(f4 x) noexcept
    f4 f4_sqrt(f4 a) noexcept
    f4 f4_swap(f4 a) noexcept
    f4 f4_weave(f4 a, f4 b) noexcept
    f4 f4_from_u16(const uint16_t *p) noexcept
    void f4_to_u16(uint16_t *p, f4 a) noexcept
    f4 f4_random(uint64_t bits) noexcept
    int group_find(const void *slots, uint32_t mark) noexcept
    int pair_find(const uint16_t *slots, int n, uint16_t mark) noexcept
    int f4_above(f4 a, f4 b) noexcept
    int f4_any_above(f4 a, f4 b) noexcept
    bint f4_within(f4 a, f4 most) noexcept
    float f1_max3(f4 a) noexcept
