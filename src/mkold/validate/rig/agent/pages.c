/* Sets of pages as they are written, and bitmaps. */
#include "agent.h"

#include <fcntl.h>
#include <unistd.h>

long each_page(const char *text, void (*f)(size_t page))
{
	long n = 0;

	while (*text) {
		char *end;
		size_t first = strtoul(text, &end, 10), last = first;

		if (end == text)
			return -1;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (size_t page = first; page <= last && page < vm.n_pages; page++, n++)
			f(page);
		text = *end == ',' ? end + 1 : end;
	}
	return n;
}

void put_bitmap(const uint8_t *bytes, size_t n)
{
	fputs("@bits ", out);
	for (size_t i = 0; i < n; i += 4) {
		int digit = 0;

		for (size_t j = 0; j < 4 && i + j < n; j++)
			digit |= (bytes[i + j] != 0) << j;
		fputc("0123456789abcdef"[digit], out);
	}
	fputs("\n", out);
}

uint64_t pagemap(size_t page)
{
	static int fd = -1;
	uintptr_t at = (uintptr_t)vm.pages / page_size + page;
	uint64_t word;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY);
	return pread(fd, &word, 8, at * 8) == 8 ? word : 0;
}
