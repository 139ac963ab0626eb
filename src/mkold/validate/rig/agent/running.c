/* A vCPU that runs on: a thread, on a processor of its own if there is one, enters the guest,
 * which goes round its list until it is told to leave.
 *
 * The thread is there from the start, so that none of its memory is the VM's; it begins to wait
 * again behind each loop. A round that began behind a step is over when two more have ended.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "../module/mkold_aging.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

#define MOST_WAIT_S 20

static sem_t begin, ended;
static int is_looping;
static volatile int trouble;
static uint8_t *looped;

static int pin(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return sched_setaffinity(0, sizeof cpus, &cpus);
}

static void *loop(void *unused)
{
	pin(1); /* it may be the only one there is: then they take turns */
	for (;;) {
		sem_wait(&begin);
		trouble = vm_enter() ? errno : 0;
		sem_post(&ended);
	}
	return unused;
}

void running_boot(void)
{
	pthread_t thread;

	sem_init(&begin, 0, 0);
	sem_init(&ended, 0, 0);
	pthread_create(&thread, NULL, loop, NULL);
	pin(0);
}

/* A round of the whole list, from its beginning on. */
static int wait_round(void)
{
	uint32_t first = vm_mailbox()->rounds;
	time_t end = time(NULL) + MOST_WAIT_S;

	while (vm_mailbox()->rounds - first < 2) {
		if (trouble || time(NULL) > end) {
			errno = trouble ? trouble : ETIME;
			return -1;
		}
		sched_yield();
	}
	return 0;
}

static void mark_page(size_t page)
{
	looped[page] = 1;
}

int vm_loop(int write, const char *pages)
{
	if (vm_fill_list(write, pages, 0))
		return failed("pages");
	free(looped);
	looped = calloc(vm.n_pages, 1);
	each_page(pages, mark_page);
	vm_mailbox()->rounds = 0;
	vm_mailbox()->loop = 1;
	trouble = 0;
	is_looping = 1;
	sem_post(&begin);
	return done();
}

int vm_halt(void)
{
	if (is_looping) {
		vm_mailbox()->loop = 0;
		sem_wait(&ended);
	}
	is_looping = 0;
	return trouble;
}

/* Behind a step: what the guest does by then is done, and what it mapped is on its list. */
int vm_settle(void)
{
	uint8_t byte;

	if (is_looping && wait_round())
		return failed("the guest's loop");
	if (age_bytes(MKOLD_DRAIN, 0, 0, 1, &byte))
		return failed("drain");
	return is_looping && wait_round() ? failed("the guest's loop") : done();
}

/* Pages of which the guest has the content that the process has there now. */
int vm_fresh(void)
{
	uint8_t *bytes = calloc(vm.n_pages + 1, 2), *fresh = bytes + vm.n_pages + 1;
	int failure = age_bytes(MKOLD_BYTE, 0, vm.n_pages, 1, bytes);
	const uint32_t *seen = (const uint32_t *)(vm.low + SEEN);

	for (size_t page = 0; is_looping && page < vm.n_pages; page++)
		if (looped[page])
			fresh[page] = (uint8_t)*seen++ == bytes[page];
	if (!failure)
		put_bitmap(fresh, vm.n_pages);
	free(bytes);
	return failure ? failed("content") : done();
}
