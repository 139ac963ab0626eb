/* DAMON, by its files in sysfs: one kdamond that watches pages of this process, a region each.
 *
 * A kdamond prepares the regions, sleeps for the sampling interval, and checks them. The interval
 * is weeks, but being told to end wakes it: so it prepares as it is turned on, checks once as it
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

static int is_watching, refused;
static size_t n_watched;

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

static void count_page(size_t page)
{
	(void)page;
	n_watched++;
}

static void add_region(size_t page)
{
	unsigned long start = (uintptr_t)vm.pages + page * page_size;

	put(start, REGIONS "/%zu/start", n_watched);
	put(start + page_size, REGIONS "/%zu/end", n_watched);
	n_watched++;
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
	put_text(CONTEXT "/operations", "fvaddr");
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
		start = (start - (uintptr_t)vm.pages) / page_size;
		if (start < vm.n_pages && ++n)
			bytes[start] = count;
	}
	if (file)
		fclose(file);
	errno = EPROTO;
	return n == n_watched ? 0 : -1;
}

/* Nobody watches; what the check as it ended found is forgotten. */
void damon_end(void)
{
	if (is_watching)
		write_file(ADMIN "/0/state", "off");
	is_watching = 0;
}

/* Watch these pages: they are prepared. Who watched others does no more. */
int damon_watch(const char *pages)
{
	damon_end();
	refused = 0;
	prepare_context();
	n_watched = 0;
	each_page(pages, count_page);
	put(n_watched > FEWEST_REGIONS ? n_watched : FEWEST_REGIONS,
	    CONTEXT "/monitoring_attrs/nr_regions/min");
	put(n_watched, REGIONS "/nr_regions");
	n_watched = 0;
	each_page(pages, add_region);
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
