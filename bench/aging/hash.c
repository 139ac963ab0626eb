/* What bench/scan.py holds the aging of hash tables against: the same in C, over the same rmap
 * words, rings and HPTEs, with the same atomic operations.
 *
 * For each page: the rmap word's lock; the host's REFERENCED goes; of the ring's HPTEs those
 * with R are locked by a try (nobody else is there, so it is not repeated), R goes by a store of
 * its byte, the tlbie takes its lock and counts, the guest's view keeps R.
 */
#include <stdint.h>

#define RMAP_LOCK (UINT64_C(1) << RMAP_LOCK_BIT)
#define INDEX ((UINT64_C(1) << 32) - 1)
#define VALID UINT64_C(1)
#define HVLOCK UINT64_C(0x40)
#define R UINT64_C(0x100)
#define MODIFIED (UINT64_C(1) << 62)

enum root { RMAP, HPT, REV, TLBIE_LOCK, TLBIES, N_VCPUS };

static inline uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline int take(uint64_t *at, uint64_t old, uint64_t new)
{
	return __atomic_compare_exchange_n(at, &old, new, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void tlbie(uint64_t *mem, const uint64_t *roots)
{
	while (!take(mem + roots[TLBIE_LOCK], 0, 1))
		;
	mem[roots[TLBIES]]++;
	if (__atomic_load_n(mem + roots[N_VCPUS], __ATOMIC_ACQUIRE))
		__builtin_trap();
	__atomic_fetch_and(mem + roots[TLBIE_LOCK], ~UINT64_C(1), __ATOMIC_RELEASE);
}

static uint64_t age_hpte(uint64_t *mem, const uint64_t *roots, uint64_t index)
{
	uint64_t *hpte = mem + roots[HPT] + 2 * index;
	uint64_t *guest = mem + roots[REV] + REV_WORDS * index;
	uint64_t v, young = 0;
	if (!(load(hpte + 1) & R))
		return 0;
	v = load(hpte);
	if ((v & HVLOCK) || !take(hpte, v, v | HVLOCK))
		__builtin_trap();
	if ((load(hpte) & VALID) && (load(hpte + 1) & R)) {
		uint8_t *byte = (uint8_t *)(hpte + 1) + 1;
		__atomic_store_n(byte, (uint8_t)((load(hpte + 1) & ~R) >> 8), __ATOMIC_RELAXED);
		tlbie(mem, roots);
		if (!(*guest & R))
			*guest |= R | MODIFIED;
		young = 1;
	}
	__atomic_store_n(hpte, load(hpte) & ~HVLOCK, __ATOMIC_RELEASE);
	return young;
}

uint64_t age_pages(uint64_t *mem, const uint64_t *roots, uint64_t n)
{
	uint64_t young = 0;
	for (uint64_t gfn = 0; gfn < n; gfn++) {
		uint64_t *rmap = mem + roots[RMAP] + gfn, word, found = 0;
		do {
			while (load(rmap) & RMAP_LOCK)
				;
		} while (__atomic_fetch_or(rmap, RMAP_LOCK, __ATOMIC_ACQUIRE) & RMAP_LOCK);
		word = load(rmap);
		if (word & RMAP_REFERENCED) {
			__atomic_store_n(rmap, word & ~RMAP_REFERENCED, __ATOMIC_RELAXED);
			found = 1;
		}
		if (word & RMAP_PRESENT) {
			uint64_t first = word & INDEX, at = first;
			do {
				found |= age_hpte(mem, roots, at);
				at = mem[roots[REV] + REV_WORDS * at + FORW];
			} while (at != first);
		}
		__atomic_fetch_and(rmap, ~RMAP_LOCK, __ATOMIC_RELEASE);
		young += found;
	}
	return young;
}
