/* What bench/scan.py holds the aging of the shadow MMU against: the same walk in C, over the
 * same rmap words and descs, with the same atomic operations.
 *
 * For each page: the bit by a compare-and-swap with acquire; the SPTE, or the descs up to their
 * first empty entry; A of what is present and young goes by an atomic AND; the word is put back
 * by a release.
 */
#include <stdint.h>

#define MANY UINT64_C(1)
#define LOCKED UINT64_C(2)
#define SHIFT 2
#define PRESENT (UINT64_C(1) << 11)
#define ACCESSED (UINT64_C(1) << 8)
#define EXT 14

enum desc { MORE, SPTE_COUNT, TAIL_COUNT, SPTES };

static inline uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline int age(uint64_t *sptep)
{
	uint64_t spte = load(sptep);
	if (!(spte & PRESENT) || !(spte & ACCESSED))
		return 0;
	__atomic_fetch_and(sptep, ~ACCESSED, __ATOMIC_RELAXED);
	return 1;
}

static int age_chain(uint64_t *mem, uint64_t at)
{
	int young = 0;
	for (; at; at = mem[at + MORE])
		for (int i = 0; i < EXT && mem[at + SPTES + i]; i++)
			young |= age(mem + mem[at + SPTES + i]);
	return young;
}

static uint64_t lock(uint64_t *word)
{
	uint64_t old;
	do {
		while ((old = load(word)) & LOCKED)
			;
		if (!old)
			return 0;
	} while (!__atomic_compare_exchange_n(word, &old, old | LOCKED, 0, __ATOMIC_ACQUIRE,
					      __ATOMIC_RELAXED));
	return old;
}

uint64_t age_entries(uint64_t *mem, const uint64_t *roots, uint64_t n)
{
	uint64_t young = 0, *rmap = mem + roots[0];
	for (uint64_t gfn = 0; gfn < n; gfn++) {
		uint64_t val = lock(rmap + gfn);
		if (!val)
			continue;
		young += val & MANY ? age_chain(mem, val >> SHIFT) : age(mem + (val >> SHIFT));
		__atomic_store_n(rmap + gfn, val, __ATOMIC_RELEASE);
	}
	return young;
}
