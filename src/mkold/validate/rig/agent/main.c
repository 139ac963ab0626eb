/* Boot, and the loop over commands. */
#define _GNU_SOURCE
#include "agent.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

FILE *out;
size_t page_size;

int done(void)
{
	fputs("@.\n", out);
	return 0;
}

int failed(const char *what)
{
	fprintf(out, "@! %s: %s\n", what, strerror(errno));
	return -1;
}

static int bye(void)
{
	done();
	fflush(out);
	tcdrain(fileno(out));
	sync();
	reboot(RB_AUTOBOOT);
	return 0;
}

/* One command: its name, and all that stands behind it. */
static int perform(const char *name, char *rest)
{
	char *word = rest, *more = rest + strcspn(rest, " ");

	if (*more)
		*more++ = 0;
	if (!strcmp(name, "vm")) {
		size_t n = strtoul(word, NULL, 10);
		return vm_create(n, !strncmp(more, "huge", 4), strchr(more, ':'));
	}
	if (!strcmp(name, "guest"))
		return vm_run(*word == 'w', more);
	if (!strcmp(name, "loop"))
		return vm_loop(*word == 'w', more);
	if (!strcmp(name, "halt"))
		return vm_halt() ? failed("KVM_RUN") : done();
	if (!strcmp(name, "settle"))
		return vm_settle();
	if (!strcmp(name, "fresh"))
		return vm_fresh();
	if (!strcmp(name, "slot"))
		return vm_slots(word, more);
	if (!strcmp(name, "log"))
		return vm_dirty_log(*word, more);
	if (!strcmp(name, "logmode"))
		return vm_dirty_mode(strtoul(word, NULL, 10));
	if (!strcmp(name, "host"))
		return host_touch(*word == 'w', more);
	if (!strcmp(name, "advise"))
		return host_advise(word, more);
	if (!strcmp(name, "look"))
		return host_look();
	if (!strcmp(name, "age")) {
		if (*more)
			more[-1] = ' ';
		return host_age(word);
	}
	if (!strcmp(name, "put"))
		return host_put(word, more);
	if (!strcmp(name, "cat"))
		return host_cat(word);
	if (!strcmp(name, "huge"))
		return huge_step(word, more);
	if (!strcmp(name, "huge-look"))
		return huge_look();
	if (!strcmp(name, "pass"))
		return lru_pass();
	if (!strcmp(name, "generations"))
		return lru_look();
	if (!strcmp(name, "evict"))
		return lru_evict(word);
	if (!strcmp(name, "damon-watch"))
		return damon_watch(0, word);
	if (!strcmp(name, "damon-paddr"))
		return damon_watch(1, word);
	if (!strcmp(name, "damon-look"))
		return damon_look();
	if (!strcmp(name, "damon-check"))
		return damon_check();
	if (!strcmp(name, "sleep")) {
		usleep(strtoul(word, NULL, 10));
		return done();
	}
	if (!strcmp(name, "bye"))
		return bye();
	if (guest_command && guest_command(name, word, more) == 0)
		return 0;
	fprintf(out, "@! no command %s\n", name);
	return -1;
}

/* The heap is there from the start, and locked later: none of it is ever reclaimed. */
static void keep_heap(void)
{
	mallopt(M_TOP_PAD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	free(malloc(64));
}

static FILE *open_line(void)
{
	char path[64];
	const char *name = getenv("mkold_line");
	struct termios raw;
	int fd;

	snprintf(path, sizeof path, "/dev/%s", name ? name : "console");
	fd = open(path, O_RDWR | O_NOCTTY);
	if (fd < 0)
		return NULL;
	tcgetattr(fd, &raw);
	cfmakeraw(&raw);
	tcsetattr(fd, TCSANOW, &raw);
	out = fdopen(dup(fd), "w");
	setvbuf(out, NULL, _IOFBF, 1 << 16);
	return fdopen(fd, "r");
}

int main(void)
{
	size_t room = 1 << 20;
	char *line = malloc(room);
	struct utsname name;
	FILE *in;

	page_size = sysconf(_SC_PAGESIZE);
	keep_heap();
	host_boot();
	running_boot();
	in = open_line();
	uname(&name);
	if (in && out) {
		fprintf(out, "\n@. ready %s %zu aging %d\n", name.release, page_size,
			access("/dev/mkold-aging", R_OK) == 0);
		fflush(out);
		mlockall(MCL_CURRENT);
		while (fgets(line, room, in)) {
			char *rest;

			line[strcspn(line, "\r\n")] = 0;
			rest = line + strcspn(line, " ");
			if (*rest)
				*rest++ = 0;
			perform(line, rest);
			fflush(out);
		}
	}
	reboot(RB_AUTOBOOT);
	return 0;
}
