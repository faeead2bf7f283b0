/* fx.c - scaling, forgetting, the delay curve of opens, hashes. */
#include "strategies/fx.h"

#include <stddef.h>

uint64_t fx_scale(uint64_t value, uint64_t num, uint64_t den)
{
    __extension__ typedef unsigned __int128 wide;
    wide result = (wide)value * num / den;

    return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

uint64_t fx_decay_steps(uint64_t *since_ms, uint64_t now_ms, uint64_t half_life_ms)
{
    uint64_t step_ms = half_life_ms / 64;

    if (now_ms <= *since_ms)
        return 0;
    uint64_t steps = (now_ms - *since_ms) / step_ms;
    *since_ms += steps * step_ms;
    return steps;
}

uint64_t fx_decay(uint64_t value, uint64_t steps)
{
    static const uint32_t fraction[64] = {
        /* 65536 x 2^(-i/64) */
        65536, 64830, 64132, 63441, 62757, 62081, 61413, 60751, 60097, 59449, 58809, 58176, 57549,
        56929, 56316, 55709, 55109, 54515, 53928, 53347, 52773, 52204, 51642, 51085, 50535, 49991,
        49452, 48920, 48393, 47871, 47356, 46846, 46341, 45842, 45348, 44859, 44376, 43898, 43425,
        42958, 42495, 42037, 41584, 41136, 40693, 40255, 39821, 39392, 38968, 38548, 38133, 37722,
        37316, 36914, 36516, 36123, 35734, 35349, 34968, 34591, 34219, 33850, 33486, 33125};

    if (steps == 0)
        return value;
    if (steps >= UINT64_C(64) * 64)
        return 0;
    return fx_scale(value >> (steps / 64), fraction[steps % 64], FX_ONE);
}

uint32_t fx_open_share(uint64_t age_ms)
{
    static const struct {
        uint16_t minutes, share;
    } curve[] = {{0, 0},        {1, 63},       {2, 207},     {5, 821},     {10, 2016},
                 {15, 3222},    {20, 4386},    {30, 6545},   {45, 9393},   {60, 11861},
                 {90, 15964},   {120, 19285},  {180, 24440}, {240, 28337}, {300, 31436},
                 {360, 33984},  {480, 37972},  {600, 40986}, {720, 43367}, {900, 46151},
                 {1080, 48298}, {1260, 50013}, {1440, 51420}};
    size_t last = sizeof curve / sizeof curve[0] - 1;

    for (size_t i = 1; i <= last; i++) {
        uint64_t from_ms = curve[i - 1].minutes * MINUTE_MS, to_ms = curve[i].minutes * MINUTE_MS;
        if (age_ms < to_ms)
            return curve[i - 1].share + (uint32_t)((uint64_t)(curve[i].share - curve[i - 1].share) *
                                                   (age_ms - from_ms) / (to_ms - from_ms));
    }
    return curve[last].share;
}

uint32_t fx_sqrt(uint64_t value)
{
    uint64_t root = 0;

    for (uint64_t bit = UINT64_C(1) << 31; bit != 0; bit >>= 1) {
        if ((root | bit) * (root | bit) <= value)
            root |= bit;
    }
    return (uint32_t)root;
}

uint64_t fx_hash(uint64_t hash, const void *bytes, uint64_t n_bytes)
{
    const unsigned char *at = bytes;

    for (uint64_t i = 0; i < n_bytes; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return hash;
}

uint64_t fx_mix(uint64_t key)
{
    key = (key ^ (key >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return key ^ (key >> 29);
}
