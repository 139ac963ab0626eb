/* Memslots that go and come back: a step is about those that have any of its pages. */
#include "agent.h"

#include <sys/ioctl.h>

static uint64_t sizes[MAX_SLOTS];
static uint8_t *marked;

static void mark_page(size_t page)
{
	marked[page] = 1;
}

static size_t first_of(const struct kvm_userspace_memory_region *slot)
{
	return slot->guest_phys_addr / page_size - BASE_GFN;
}

/* Whether the guest has the page now. */
int vm_has(size_t page)
{
	for (size_t i = 1; i < n_slots; i++)
		if (page - first_of(&slots[i]) < slots[i].memory_size / page_size)
			return 1;
	return 0;
}

static int set_size(size_t i, uint64_t size)
{
	slots[i].memory_size = size;
	slots[i].flags = 0;
	return ioctl(vm.vm_fd, KVM_SET_USER_MEMORY_REGION, &slots[i]);
}

static int change(size_t i, int create)
{
	uint64_t size = slots[i].memory_size;

	if (create)
		return size ? 0 : set_size(i, sizes[i]);
	if (!size)
		return 0;
	sizes[i] = size;
	return set_size(i, 0);
}

/* "create 3-5", "delete 3-5". */
int vm_slots(const char *what, const char *pages)
{
	int trouble = vm_halt();

	marked = calloc(vm.n_pages, 1);
	each_page(pages, mark_page);
	for (size_t i = 1; i < n_slots && !trouble; i++) {
		uint64_t size = slots[i].memory_size ? slots[i].memory_size : sizes[i];

		for (size_t page = 0; page < size / page_size; page++)
			if (marked[first_of(&slots[i]) + page]) {
				trouble = change(i, !strcmp(what, "create"));
				break;
			}
	}
	free(marked);
	return trouble ? failed("KVM_SET_USER_MEMORY_REGION") : done();
}
