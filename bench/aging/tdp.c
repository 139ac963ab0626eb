/* What bench/scan.py holds the scan of the TDP MMU's tables against: two ways in C to age the same
 * tables, and a mere read of as many words.
 *
 * age_entries  one entry after the other, as one writes it first
 * age_masks    by vectors, 32 entries a time: is any accessed, and if so, which; only those
 *              are looked at again (x86-64 with AVX2)
 * sum          reads, and no more
 *
 * Both clear the accessed bit by an atomic AND, or with TRACKED (EPT without the bit) move
 * read and execute to saved bits by a compare-and-swap.
 */
#include <stdint.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define PRESENT (UINT64_C(1) << 11)
#define ACCESSED UINT64_C(0x100)
#define TABLE 512

static uint64_t *below(uint64_t *mem, const uint64_t *at)
{
	uint64_t entry = __atomic_load_n(at, __ATOMIC_RELAXED);
	return mem + ((entry & ((UINT64_C(1) << 52) - 4096)) >> 12);
}

static uint64_t *table_of(uint64_t *mem, uint64_t root, uint64_t gfn)
{
	uint64_t *pud = below(mem, mem + root + (gfn >> 27));
	uint64_t *pmd = below(mem, pud + (gfn >> 18 & (TABLE - 1)));
	return below(mem, pmd + (gfn >> 9 & (TABLE - 1)));
}

static int clear_young(uint64_t *ptep)
{
	uint64_t pte = __atomic_load_n(ptep, __ATOMIC_RELAXED);
	if ((pte & (PRESENT | ACCESSED)) != (PRESENT | ACCESSED))
		return 0;
#ifdef TRACKED
	uint64_t old = (pte & ~(ACCESSED | 7)) | (pte & 5) << 54;
	__atomic_compare_exchange_n(ptep, &pte, old, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
#else
	__atomic_fetch_and(ptep, ~ACCESSED, __ATOMIC_SEQ_CST);
#endif
	return 1;
}

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
	const __m256i bit = _mm256_set1_epi64x(ACCESSED);
	__m256i part[VECTORS], any = _mm256_setzero_si256();
	for (int k = 0; k < VECTORS; k++) {
		part[k] = _mm256_loadu_si256((const __m256i *)(ptep + k * LANES));
		any = _mm256_or_si256(any, part[k]);
	}
	if (_mm256_testz_si256(any, bit))
		return 0;
	uint32_t found = 0;
	for (int k = 0; k < VECTORS; k++) {
		/* bit 8 becomes the lane's sign, which is what movemask gathers */
		__m256d sign = _mm256_castsi256_pd(_mm256_slli_epi64(part[k], 55));
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
