/* Two ways in C to age tables of TABLE entries, and a mere read of as many words.
 *
 * age_entries  one entry after the other, as one writes it first
 * age_masks    by vectors, 32 entries a time: is any accessed, and if so, which; only those
 *              are looked at again (x86-64 with AVX2)
 * sum          reads, and no more
 *
 * Whoever includes it has defined
 *   ACCESSED_BIT                    which bit of an entry says that it was accessed
 *   table_of(mem, root, gfn)        the table of base pages that translates gfn
 *   clear_young(ptep)               make one entry old; whether it was young
 */
#include <stdint.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define TABLE 512

static uint64_t *table_of(uint64_t *mem, uint64_t root, uint64_t gfn);
static int clear_young(uint64_t *ptep);

uint64_t age_entries(uint64_t *mem, const uint64_t *roots, uint64_t n)
{
	uint64_t young = 0;
	for (uint64_t gfn = 0; gfn < n; gfn += TABLE) {
		uint64_t *table = table_of(mem, roots[0], gfn);
		for (int i = 0; i < TABLE; i++)
			young += clear_young(table + i);
	}
	return young;
}

uint64_t sum(const uint64_t *words, const uint64_t *roots, uint64_t n)
{
	(void)roots;
	uint64_t s = 0;
	for (uint64_t i = 0; i < n; i++)
		s += words[i];
	return s;
}

#ifdef __AVX2__
#define LANES 4
#define VECTORS 8

/* A bit for each of VECTORS * LANES entries: whether it is accessed. */
static inline uint32_t accessed(const uint64_t *ptep)
{
	const __m256i bit = _mm256_set1_epi64x(UINT64_C(1) << ACCESSED_BIT);
	__m256i part[VECTORS], any = _mm256_setzero_si256();
	for (int k = 0; k < VECTORS; k++) {
		part[k] = _mm256_loadu_si256((const __m256i *)(ptep + k * LANES));
		any = _mm256_or_si256(any, part[k]);
	}
	if (_mm256_testz_si256(any, bit))
		return 0;
	uint32_t found = 0;
	for (int k = 0; k < VECTORS; k++) {
		/* the bit becomes the lane's sign, which is what movemask gathers */
		__m256d sign = _mm256_castsi256_pd(_mm256_slli_epi64(part[k], 63 - ACCESSED_BIT));
		found |= (uint32_t)_mm256_movemask_pd(sign) << (k * LANES);
	}
	return found;
}

uint64_t age_masks(uint64_t *mem, const uint64_t *roots, uint64_t n)
{
	uint64_t young = 0;
	for (uint64_t gfn = 0; gfn < n; gfn += TABLE) {
		uint64_t *table = table_of(mem, roots[0], gfn);
		for (int i = 0; i < TABLE; i += VECTORS * LANES)
			for (uint32_t which = accessed(table + i); which; which &= which - 1)
				young += clear_young(table + i + __builtin_ctz(which));
	}
	return young;
}
#endif
