/* The host's side: its own accesses, advice, aging by the module, files, swap. */
#define _GNU_SOURCE
#include "agent.h"
#include "../module/mkold_aging.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

static int aging = -1, advice, refused;

static void read_page(size_t page)
{
	(void)*(volatile uint8_t *)(vm.pages + page * page_size);
}

/* Each time another byte, where the guest looks. Never a zero: a page that has nothing else may
 * be mapped to the shared zero page. */
static void write_page(size_t page)
{
	static uint8_t stamp = 1;

	stamp += 2;
	*(volatile uint8_t *)(vm.pages + page * page_size + MKOLD_OFFSET(page)) = stamp;
}

int host_touch(int write, const char *pages)
{
	return each_page(pages, write ? write_page : read_page) < 0 ? failed("pages") : done();
}

static void advise_page(size_t page)
{
	if (madvise(vm.pages + page * page_size, page_size, advice))
		refused = errno;
}

int host_advise(const char *name, const char *pages)
{
	advice = !strcmp(name, "dontneed") ? MADV_DONTNEED :
		 !strcmp(name, "pageout") ? MADV_PAGEOUT :
		 !strcmp(name, "collapse") ? 25 /* MADV_COLLAPSE */ : -1;
	refused = 0;
	each_page(pages, advise_page);
	errno = refused;
	return refused ? failed(name) : done();
}

static void put_pagemap(int bit)
{
	uint8_t *bytes = calloc(vm.n_pages, 1);

	for (size_t page = 0; page < vm.n_pages; page++)
		bytes[page] = pagemap(page) >> bit & 1;
	put_bitmap(bytes, vm.n_pages);
	free(bytes);
}

int age_bytes(unsigned op, unsigned first, unsigned n, unsigned step, uint8_t *bytes)
{
	struct mkold_aging request = {
		.op = op,
		.n = n,
		.step = step,
		.start = (uintptr_t)vm.pages + first * page_size,
		.bytes = (uintptr_t)bytes,
	};

	return ioctl(aging, MKOLD_AGE, &request);
}

static int age(unsigned op, unsigned first, unsigned n, unsigned step)
{
	uint8_t *bytes = calloc(n + 1, 1);
	int trouble = age_bytes(op, first, n, step, bytes);

	if (!trouble)
		put_bitmap(bytes, n);
	free(bytes);
	return trouble;
}

/* "OP FIRST N STEP": the module's operation for each STEP pages from FIRST on. */
int host_age(const char *words)
{
	unsigned op, first, n, step;

	if (sscanf(words, "%u %u %u %u", &op, &first, &n, &step) != 4) {
		errno = EINVAL;
		return failed("age");
	}
	return age(op, first, n, step) ? failed("age") : done();
}

int host_flush(void)
{
	uint8_t byte;

	return age_bytes(MKOLD_FLUSH_HOST, 0, 0, 1, &byte);
}

/* What can be seen without changing it: young, the process's own young, present, in swap. */
int host_look(void)
{
	if (age(MKOLD_TEST_YOUNG, 0, vm.n_pages, 1) || age(MKOLD_HOST_YOUNG, 0, vm.n_pages, 1))
		return failed("age");
	put_pagemap(63);
	put_pagemap(62);
	return done();
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), trouble;

	if (fd < 0)
		return -1;
	trouble = write(fd, text, strlen(text)) < 0;
	close(fd);
	return trouble;
}

int host_put(const char *path, const char *text)
{
	return write_file(path, text) ? failed(path) : done();
}

int host_cat(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[1024];

	if (!file)
		return failed(path);
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		fprintf(out, "@text %s\n", line);
	}
	fclose(file);
	return done();
}

/* What mkswap writes, and no more, then swapon. */
static int swap_on(const char *path)
{
	uint8_t *header = calloc(1, page_size);
	int fd = open(path, O_RDWR), trouble = fd < 0;

	if (!trouble) {
		uint32_t words[2] = { 1, lseek(fd, 0, SEEK_END) / page_size - 1 };

		memcpy(header + 1024, words, sizeof words);
		memcpy(header + page_size - 10, "SWAPSPACE2", 10);
		trouble = pwrite(fd, header, page_size, 0) != (ssize_t)page_size || fsync(fd);
		close(fd);
	}
	free(header);
	return trouble || swapon(path, 0);
}

/* Load what /mods/order names: "file.ko parameters" a line. */
static void load_modules(void)
{
	FILE *order = fopen("/mods/order", "r");
	char line[256], path[300];

	while (order && fgets(line, sizeof line, order)) {
		char *parameters;
		int fd;

		line[strcspn(line, "\n")] = 0;
		parameters = strchr(line, ' ');
		if (parameters)
			*parameters++ = 0;
		snprintf(path, sizeof path, "/mods/%s", line);
		fd = open(path, O_RDONLY);
		if (syscall(SYS_finit_module, fd, parameters ? parameters : "", 0))
			printf("%s: %s\n", line, strerror(errno));
		close(fd);
	}
	if (order)
		fclose(order);
}

void host_boot(void)
{
	mount("proc", "/proc", "proc", 0, 0);
	mount("sys", "/sys", "sysfs", 0, 0);
	mount("dev", "/dev", "devtmpfs", 0, 0);
	mount("debug", "/sys/kernel/debug", "debugfs", 0, 0);
	mount("cgroup", "/cgroup", "cgroup2", 0, 0);
	write_file("/cgroup/cgroup.subtree_control", "+memory");
	setvbuf(stdout, NULL, _IONBF, 0);
	load_modules();
	write_file("/sys/kernel/mm/lru_gen/enabled", "y");
	write_file("/proc/sys/vm/page-cluster", "0");
	write_file("/sys/block/zram0/disksize", "256M");
	if (swap_on("/dev/zram0"))
		printf("no swap: %s\n", strerror(errno));
	aging = open("/dev/mkold-aging", O_RDWR);
	huge_boot();
}
