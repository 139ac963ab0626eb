/* DAMON, by its files in sysfs: one kdamond that watches pages of this process, a region each, by
 * their addresses or by those of their frames.
 *
 * A kdamond prepares the regions, sleeps for the sampling interval, and checks them. The interval
 * is half an hour, but being told to end wakes it: so it prepares as it is turned on, checks once as it
 * is turned off, and says what it found in the trace event of an aggregation, which that is too.
 * So many regions are the least that it may have, and none is merged.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <unistd.h>

#define ADMIN "/sys/kernel/mm/damon/admin/kdamonds"
#define CONTEXT ADMIN "/0/contexts/0"
#define REGIONS CONTEXT "/targets/0/regions"
#define TRACING "/sys/kernel/tracing"
#define INTERVAL_US 2000000000UL
#define FEWEST_REGIONS 3

struct region {
	unsigned long start;
	size_t page;
	int is_gone; /* a frame that may be another page's by now */
};

static int is_watching, is_physical, refused;
static struct region *regions;
static size_t n_regions;

static void put(unsigned long number, const char *format, ...)
{
	char path[160], text[24];
	va_list words;

	va_start(words, format);
	vsnprintf(path, sizeof path, format, words);
	va_end(words);
	snprintf(text, sizeof text, "%lu", number);
	if (write_file(path, text))
		refused = errno;
}

static void put_text(const char *path, const char *text)
{
	if (write_file(path, text))
		refused = errno;
}

static void add_region(size_t page)
{
	uint64_t word = pagemap(page);
	unsigned long start = (uintptr_t)vm.pages + page * page_size;

	if (is_physical && !(word >> 63))
		return;
	if (is_physical)
		start = (word & ((1UL << 55) - 1)) * page_size;
	regions[n_regions++] = (struct region){ .start = start, .page = page };
}

static int by_start(const void *a, const void *b)
{
	const struct region *one = a, *other = b;

	return one->start < other->start ? -1 : one->start > other->start;
}

/* In the order of addresses; many pages may map the zero page, which is one region. */
static void find_regions(const char *pages)
{
	size_t n = 0;

	free(regions);
	regions = calloc(vm.n_pages + 1, sizeof *regions);
	n_regions = 0;
	each_page(pages, add_region);
	qsort(regions, n_regions, sizeof *regions, by_start);
	for (size_t i = 0; i < n_regions; i++)
		if (!n || regions[n - 1].start != regions[i].start)
			regions[n++] = regions[i];
	n_regions = n;
}

static void put_regions(void)
{
	put(n_regions > FEWEST_REGIONS ? n_regions : FEWEST_REGIONS,
	    CONTEXT "/monitoring_attrs/nr_regions/min");
	put(n_regions, REGIONS "/nr_regions");
	for (size_t i = 0; i < n_regions; i++) {
		put(regions[i].start, REGIONS "/%zu/start", i);
		put(regions[i].start + page_size, REGIONS "/%zu/end", i);
	}
}

/* What all watches have in common; the first time alone. */
static void prepare_context(void)
{
	static int is_there;

	if (is_there)
		return;
	mount("trace", TRACING, "tracefs", 0, 0);
	put_text(TRACING "/events/damon/damon_aggregated/enable", "1");
	put(1, ADMIN "/nr_kdamonds");
	put(1, ADMIN "/0/contexts/nr_contexts");
	put(INTERVAL_US, CONTEXT "/monitoring_attrs/intervals/sample_us");
	put(INTERVAL_US, CONTEXT "/monitoring_attrs/intervals/aggr_us");
	put(INTERVAL_US, CONTEXT "/monitoring_attrs/intervals/update_us");
	put(1UL << 20, CONTEXT "/monitoring_attrs/nr_regions/max");
	put(1, CONTEXT "/targets/nr_targets");
	put(getpid(), CONTEXT "/targets/0/pid_target");
	is_there = !refused;
}

/* Until the kdamond sleeps for its interval, which is the one time that it idles. */
static int wait_for_sleep(void)
{
	char path[64], word[256];
	unsigned long pid = 0;
	FILE *file = fopen(ADMIN "/0/pid", "r");

	if (!file || fscanf(file, "%lu", &pid) != 1)
		return -1;
	fclose(file);
	snprintf(path, sizeof path, "/proc/%lu/stat", pid);
	for (int i = 0; i < 20000; i++) {
		file = fopen(path, "r");
		if (!file || !fgets(word, sizeof word, file))
			return -1;
		fclose(file);
		if (strstr(word, ") I "))
			return 0;
		usleep(500);
	}
	errno = ETIMEDOUT;
	return -1;
}

/* The counts of the aggregation, as bytes. */
static int read_counts(uint8_t *bytes)
{
	FILE *file = fopen(TRACING "/trace", "r");
	char line[512];
	size_t n = 0;

	while (file && fgets(line, sizeof line, file)) {
		char *at = strstr(line, "damon_aggregated: ");
		unsigned long start, end;
		unsigned count;

		at = at ? strstr(at, "nr_regions=") : NULL;
		if (!at || sscanf(at, "nr_regions=%*u %lu-%lu: %u", &start, &end, &count) != 3)
			continue;
		for (size_t i = 0; i < n_regions; i++)
			if (regions[i].start == start && ++n && !regions[i].is_gone)
				bytes[regions[i].page] = count;
	}
	if (file)
		fclose(file);
	errno = EPROTO;
	return n == n_regions ? 0 : -1;
}

/* Nobody watches; what the check as it ended found is forgotten. */
void damon_end(void)
{
	if (is_watching)
		write_file(ADMIN "/0/state", "off");
	is_watching = 0;
}

/* Watch these pages, or their frames: they are prepared. Who watched others does no more. */
int damon_watch(int physical, const char *pages)
{
	damon_end();
	refused = 0;
	is_physical = physical;
	find_regions(pages);
	if (!n_regions)
		return done();
	prepare_context();
	put_text(CONTEXT "/operations", physical ? "paddr" : "fvaddr");
	put_regions();
	lru_drain();
	put_text(ADMIN "/0/state", "on");
	errno = refused;
	if (refused || wait_for_sleep())
		return failed("DAMON");
	is_watching = 1;
	return host_flush() ? failed("flush") : done();
}

/* Which of the pages that are watched are found accessed; that ends it. */
int damon_check(void)
{
	uint8_t *bytes = calloc(vm.n_pages + 1, 1);
	int trouble = 0;

	lru_drain();
	if (is_watching) {
		close(open(TRACING "/trace", O_WRONLY | O_TRUNC));
		damon_end();
		trouble = read_counts(bytes);
	}
	if (!trouble)
		put_bitmap(bytes, vm.n_pages);
	free(bytes);
	return trouble ? failed("DAMON's counts") : done();
}

/* Frames whose page is not there any more are watched for nobody. */
int damon_look(void)
{
	for (size_t i = 0; is_physical && i < n_regions; i++)
		if (!(pagemap(regions[i].page) >> 63))
			regions[i].is_gone = 1;
	return done();
}
