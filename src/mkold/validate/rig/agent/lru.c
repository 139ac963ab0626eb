/* The multi-generational LRU, by its debugfs file: a pass of aging, and where pages stand. */
#define _GNU_SOURCE
#include "agent.h"
#include "../module/mkold_aging.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LRU_GEN "/sys/kernel/debug/lru_gen"
#define GENERATIONS 4
#define ANONYMOUS_FIRST 200
#define GROUP "/cgroup/vm"

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

static void enter_group(const char *procs)
{
	char pid[16];

	snprintf(pid, sizeof pid, "%d", getpid());
	write_file(procs, pid);
}

/* Each VM has a group of its own, whose generations begin anew. */
void lru_new_group(void)
{
	enter_group("/cgroup/cgroup.procs");
	rmdir(GROUP);
	mkdir(GROUP, 0755);
	enter_group(GROUP "/cgroup.procs");
}

/* What was just faulted in may wait in the processor's batch: the kernel empties it for this. */
void lru_drain(void)
{
	static uint8_t *page;

	if (!page)
		page = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(page, page_size, MADV_COLD);
}

/* A command to the group: its sign, a generation so far behind, swappiness, and an option. */
static int command(char sign, unsigned behind, unsigned swappiness, unsigned long option)
{
	unsigned long max_seq;
	unsigned group;
	char text[80];

	lru_drain();
	if (!find_group(&group, &max_seq)) {
		errno = ENOENT;
		return failed(LRU_GEN);
	}
	snprintf(text, sizeof text, "%c %u 0 %lu %u %lu", sign, group, max_seq - behind,
		 swappiness, option);
	if (write_file(LRU_GEN, text))
		return failed(text);
	return host_flush() ? failed("flush") : done();
}

int lru_pass(void)
{
	return command('+', 0, 1, 1);
}

/* So many pages, of all but the two youngest generations; the process's own pages first. */
int lru_evict(const char *words)
{
	return command('-', 2, ANONYMOUS_FIRST, strtoul(words, NULL, 10));
}

/* Which pages are on a list, and two bits of how many generations behind the youngest. */
int lru_look(void)
{
	uint8_t *bits[3], *seen = calloc(vm.n_pages, 3);
	unsigned long max_seq;
	unsigned group;

	lru_drain();
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
