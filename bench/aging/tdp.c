/* What bench/scan.py holds the scan of the TDP MMU's tables against. The accessed bit is cleared by
 * an atomic AND; with TRACKED (EPT without the bit) read and execute move to saved bits by a
 * compare-and-swap.
 */
#define ACCESSED_BIT 8
#include "tables.h"

#define PRESENT (UINT64_C(1) << 11)
#define ACCESSED (UINT64_C(1) << ACCESSED_BIT)

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
