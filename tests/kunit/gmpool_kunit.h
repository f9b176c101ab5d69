/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_KUNIT_H
#define _GMPOOL_KUNIT_H

#include <linux/prandom.h>
#include <linux/random.h>

#include <kunit/test.h>

/*
 * Seed a random walk: with the suite's parameter "seed", to repeat a failed
 * walk, else with a new value each time.
 */
static inline void gmpool_test_seed(struct kunit *test, struct rnd_state *rnd,
				    unsigned int seed)
{
	if (!seed)
		seed = get_random_u32() | 1;
	kunit_info(test, "seed=%u", seed);
	prandom_seed_state(rnd, seed);
}

/* Random number in [@min, @max]. The small bias does not matter. */
static inline u32 gmpool_test_random(struct rnd_state *rnd, u32 min, u32 max)
{
	return min + prandom_u32_state(rnd) % (max - min + 1);
}

#endif /* _GMPOOL_KUNIT_H */
