/* What bench/scan.py holds the scan of guests of the guest against: the same walk in C, over
 * the same trees and lists, with the same atomic operations.
 *
 * For each young entry of L1's: a compare-and-swap clears R; then the page's list is walked, and
 * for each entry of it the guest is looked up, its shadow tree is walked, and R goes by
 * compare-and-swap, as long as the entry maps the frame and has R.
 */
#include <stdint.h>

#define PRESENT (UINT64_C(1) << 63)
#define LEAF (UINT64_C(1) << 62)
#define ACCESSED UINT64_C(0x100)
#define TABLE 512
#define FRAME(pte) (((pte) & ((UINT64_C(1) << 53) - 4096)) >> 12)
#define MAX_GUESTS 8

static inline uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* The table that an entry names, or NULL: a leaf or a hole. */
static inline uint64_t *below(uint64_t *mem, const uint64_t *at)
{
	uint64_t entry = load(at);
	if (!(entry & PRESENT) || (entry & LEAF))
		return 0;
	return mem + ((entry & ((UINT64_C(1) << 62) - 256)) >> 8);
}

static inline uint64_t *table_of(uint64_t *mem, uint64_t root, uint64_t gfn)
{
	uint64_t *pud = below(mem, mem + root + (gfn >> 27));
	uint64_t *pmd = pud ? below(mem, pud + (gfn >> 18 & (TABLE - 1))) : 0;
	return pmd ? below(mem, pmd + (gfn >> 9 & (TABLE - 1))) : 0;
}

static inline int clear(uint64_t *at, uint64_t pte)
{
	return __atomic_compare_exchange_n(at, &pte, pte & ~ACCESSED, 0, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

static void clear_shadow(uint64_t *mem, uint64_t guests, uint64_t entry, uint64_t frame)
{
	uint64_t number = entry >> 52, gfn = entry >> 12 & ((UINT64_C(1) << 40) - 1), pte;
	uint64_t guest = number < MAX_GUESTS ? load(mem + guests + number) : 0;
	if (!guest)
		return;
	do {
		uint64_t *table = table_of(mem, mem[guest + SHADOW_PGTABLE], gfn);
		if (!table)
			return;
		uint64_t *at = table + (gfn & (TABLE - 1));
		pte = load(at);
		if ((pte & (PRESENT | LEAF)) != (PRESENT | LEAF) || FRAME(pte) != frame)
			return;
		if (!(pte & ACCESSED) || clear(at, pte))
			return;
	} while (1);
}

static void clear_list(uint64_t *mem, uint64_t guests, uint64_t word, uint64_t frame)
{
	while (word) {
		if (word & 1) {
			clear_shadow(mem, guests, word & ~UINT64_C(1), frame);
			return;
		}
		clear_shadow(mem, guests, mem[word + 1], frame);
		word = load(mem + word);
	}
}

uint64_t age_entries(uint64_t *mem, const uint64_t *roots, uint64_t n)
{
	uint64_t young = 0;
	for (uint64_t gfn = 0; gfn < n; gfn += TABLE) {
		uint64_t *table = table_of(mem, roots[0], gfn);
		for (int i = 0; table && i < TABLE; i++) {
			uint64_t pte = load(table + i);
			if ((pte & (PRESENT | ACCESSED)) != (PRESENT | ACCESSED))
				continue;
			young++;
			if (clear(table + i, pte))
				clear_list(mem, roots[2], load(mem + roots[1] + gfn + i),
					   FRAME(pte));
		}
	}
	return young;
}
