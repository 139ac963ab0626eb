/* The dirty log, slot by slot: what is asked about pages is about the slots that have any. */
#include "agent.h"

#include <sys/ioctl.h>

static uint8_t *marked;

static void mark_page(size_t page)
{
	marked[page] = 1;
}

static size_t first_of(const struct kvm_userspace_memory_region *slot)
{
	return slot->guest_phys_addr / page_size - BASE_GFN;
}

static int has_marked(const struct kvm_userspace_memory_region *slot)
{
	size_t n = slot->memory_size / page_size;

	for (size_t i = 0; i < n; i++)
		if (marked[first_of(slot) + i])
			return 1;
	return 0;
}

static int set_logging(struct kvm_userspace_memory_region *slot, int on)
{
	uint32_t flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0;

	if (slot->flags == flags)
		return 0;
	slot->flags = flags;
	return ioctl(vm.vm_fd, KVM_SET_USER_MEMORY_REGION, slot);
}

static int get_log(const struct kvm_userspace_memory_region *slot, uint8_t *bytes)
{
	size_t n = slot->memory_size / page_size;
	uint8_t *log = calloc(n / 8 + 64, 1);
	struct kvm_dirty_log request = { .slot = slot->slot, .dirty_bitmap = log };
	int trouble = ioctl(vm.vm_fd, KVM_GET_DIRTY_LOG, &request);

	for (size_t i = 0; i < n && !trouble; i++)
		bytes[first_of(slot) + i] = log[i / 8] >> (i % 8) & 1;
	free(log);
	return trouble;
}

static int clear_log(const struct kvm_userspace_memory_region *slot)
{
	size_t n = slot->memory_size / page_size;
	uint8_t *log = calloc(n / 8 + 64, 1);
	struct kvm_clear_dirty_log request = {
		.slot = slot->slot, .num_pages = n, .dirty_bitmap = log,
	};
	int trouble;

	for (size_t i = 0; i < n; i++)
		log[i / 8] |= marked[first_of(slot) + i] << (i % 8);
	trouble = ioctl(vm.vm_fd, KVM_CLEAR_DIRTY_LOG, &request);
	free(log);
	return trouble;
}

static int on_slot(char what, struct kvm_userspace_memory_region *slot, uint8_t *bytes)
{
	if (what == 'o')
		return set_logging(slot, 1);
	if (what == 'e')
		return set_logging(slot, 0);
	if (!(slot->flags & KVM_MEM_LOG_DIRTY_PAGES))
		return 0;
	return what == 'g' ? get_log(slot, bytes) : clear_log(slot);
}

/* Log these slots (o), end that (e), get what is dirty (g), clear these pages (c). */
int vm_dirty_log(char what, const char *pages)
{
	uint8_t *bytes = calloc(vm.n_pages, 2);
	int trouble = 0;

	marked = bytes + vm.n_pages;
	each_page(pages, mark_page);
	for (size_t i = 1; i < n_slots && !trouble; i++)
		if (has_marked(&slots[i]))
			trouble = on_slot(what, &slots[i], bytes);
	if (!trouble && what == 'g')
		put_bitmap(bytes, vm.n_pages);
	free(bytes);
	return trouble ? failed("the dirty log") : done();
}

/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 with these options. */
int vm_dirty_mode(unsigned options)
{
	struct kvm_enable_cap manual = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { options },
	};

	return ioctl(vm.vm_fd, KVM_ENABLE_CAP, &manual) ? failed("the log's mode") : done();
}
