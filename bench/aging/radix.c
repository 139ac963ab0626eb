/* What bench/scan.py holds the scan of radix tables against. The accessed bit is cleared by a
 * compare-and-swap, as pte_xchg does.
 */
#define ACCESSED_BIT 8
#include "tables.h"

#define PRESENT (UINT64_C(1) << 63)
#define ACCESSED (UINT64_C(1) << ACCESSED_BIT)

static uint64_t *below(uint64_t *mem, const uint64_t *at)
{
	uint64_t entry = __atomic_load_n(at, __ATOMIC_RELAXED);
	return mem + ((entry & ((UINT64_C(1) << 62) - 256)) >> 8);
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
	__atomic_compare_exchange_n(ptep, &pte, pte & ~ACCESSED, 0, __ATOMIC_SEQ_CST,
				    __ATOMIC_RELAXED);
	return 1;
}
