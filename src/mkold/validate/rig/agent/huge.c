/* Huge pages: advice and protection for whole runs of pages, and who is mapped by a PMD.
 *
 * Nobody but the steps makes or breaks huge pages: khugepaged sleeps for weeks after its first
 * round, which is over before there is a page, and reading maps no huge zero page.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "../module/mkold_aging.h"

#include <sys/mman.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define SLEEP_MS "4000000000"

static int advice, refused;

void huge_boot(void)
{
	static uint8_t *at;

	write_file(THP "use_zero_page", "0");
	write_file(THP "khugepaged/scan_sleep_millisecs", SLEEP_MS);
	write_file(THP "khugepaged/max_ptes_none", "0");
	at = mmap(NULL, 1UL << 22, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(at, 1UL << 22, MADV_HUGEPAGE);
	usleep(100000);
}

static void advise_run(size_t first, size_t n)
{
	if (madvise(vm.pages + first * page_size, n * page_size, advice))
		refused = errno;
}

/* Writing is forbidden, and allowed again. */
static void protect_run(size_t first, size_t n)
{
	uint8_t *at = vm.pages + first * page_size;

	if (mprotect(at, n * page_size, PROT_READ) ||
	    mprotect(at, n * page_size, PROT_READ | PROT_WRITE))
		refused = errno;
}

static void each_run(const char *text, void (*f)(size_t first, size_t n))
{
	while (*text) {
		char *end;
		size_t first = strtoul(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		f(first, last - first + 1);
		text = *end == ',' ? end + 1 : end;
	}
}

/* "drop 0-511": MADV_DONTNEED in one call a run; "collapse", which may well be refused;
 * "protect". */
int huge_step(const char *name, const char *pages)
{
	refused = 0;
	if (!strcmp(name, "protect")) {
		each_run(pages, protect_run);
	} else {
		advice = !strcmp(name, "collapse") ? 25 /* MADV_COLLAPSE */ : MADV_DONTNEED;
		each_run(pages, advise_run);
	}
	errno = refused;
	return refused && strcmp(name, "collapse") ? failed(name) : done();
}

/* Which pages the process maps by a PMD. */
int huge_look(void)
{
	uint8_t *bytes = calloc(vm.n_pages + 1, 1);
	int trouble = age_bytes(MKOLD_HOST_HUGE, 0, vm.n_pages, 1, bytes);

	if (!trouble)
		put_bitmap(bytes, vm.n_pages);
	free(bytes);
	return trouble ? failed("huge") : done();
}
