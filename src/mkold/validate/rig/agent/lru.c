/* The multi-generational LRU, by its debugfs file: a pass of aging, and where pages stand. */
#define _GNU_SOURCE
#include "agent.h"
#include "../module/mkold_aging.h"

#include <sys/mman.h>

#define LRU_GEN "/sys/kernel/debug/lru_gen"
#define GENERATIONS 4

/* Our memory group and its youngest generation; 0 if there is none. */
static int find_group(unsigned *group, unsigned long *max_seq)
{
	FILE *file = fopen(LRU_GEN, "r");
	char line[256], path[128];
	int ours = 0, found = 0;

	while (file && fgets(line, sizeof line, file)) {
		unsigned number;
		unsigned long seq;

		if (sscanf(line, "memcg %u %127s", &number, path) >= 1) {
			ours = !strcmp(path, "/vm");
			if (ours)
				*group = number;
		} else if (ours && !strstr(line, "node") && sscanf(line, "%lu", &seq) == 1) {
			*max_seq = seq;
			found = 1;
		}
	}
	if (file)
		fclose(file);
	return found;
}

/* What was just faulted in may wait in the processor's batch: the kernel empties it for this. */
static void drain(void)
{
	static uint8_t *page;

	if (!page) {
		page = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*page = 1;
	}
	madvise(page, page_size, MADV_COLD);
}

int lru_pass(void)
{
	unsigned long max_seq;
	unsigned group;
	char text[64];

	drain();
	if (!find_group(&group, &max_seq)) {
		errno = ENOENT;
		return failed(LRU_GEN);
	}
	snprintf(text, sizeof text, "+ %u 0 %lu 1 1", group, max_seq);
	if (write_file(LRU_GEN, text))
		return failed("a pass");
	return host_flush() ? failed("flush") : done();
}

/* Which pages are on a list, and two bits of how many generations behind the youngest. */
int lru_look(void)
{
	uint8_t *bits[3], *seen = calloc(vm.n_pages, 3);
	unsigned long max_seq;
	unsigned group;

	drain();
	if (!find_group(&group, &max_seq)) {
		free(seen);
		errno = ENOENT;
		return failed(LRU_GEN);
	}
	for (int i = 0; i < 3; i++) {
		bits[i] = seen + i * vm.n_pages;
		if (age_bytes(MKOLD_GENERATION_0 + i, 0, vm.n_pages, 1, bits[i]))
			return failed("generations");
	}
	for (size_t page = 0; page < vm.n_pages; page++) {
		unsigned stored = bits[0][page] | bits[1][page] << 1 | bits[2][page] << 2;
		unsigned behind = (max_seq + 1 - stored) % GENERATIONS;

		bits[0][page] = stored != 0;
		bits[1][page] = stored ? behind & 1 : 0;
		bits[2][page] = stored ? behind >> 1 : 0;
	}
	for (int i = 0; i < 3; i++)
		put_bitmap(bits[i], vm.n_pages);
	free(seen);
	return done();
}
