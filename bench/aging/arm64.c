/* What bench/scan.py holds the scan of stage-2 tables against. The access flag is cleared by a
 * compare-and-swap of the whole entry.
 */
#define ACCESSED_BIT 10
#include "tables.h"

#define VALID UINT64_C(1)
#define AF (UINT64_C(1) << ACCESSED_BIT)

static uint64_t *below(uint64_t *mem, const uint64_t *at)
{
	uint64_t entry = __atomic_load_n(at, __ATOMIC_RELAXED);
	return mem + ((entry & ((UINT64_C(1) << 48) - 4096)) >> 12);
}

static uint64_t *table_of(uint64_t *mem, uint64_t root, uint64_t gfn)
{
	/* two root tables side by side at level 1, without a mask */
	uint64_t *pmd = below(mem, mem + root + (gfn >> 18));
	return below(mem, pmd + (gfn >> 9 & (TABLE - 1)));
}

static int clear_young(uint64_t *ptep)
{
	uint64_t pte = __atomic_load_n(ptep, __ATOMIC_RELAXED);
	if ((pte & (VALID | AF)) != (VALID | AF))
		return 0;
	__atomic_compare_exchange_n(ptep, &pte, pte & ~AF, 0, __ATOMIC_SEQ_CST,
				    __ATOMIC_RELAXED);
	return 1;
}
