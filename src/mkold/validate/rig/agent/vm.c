/* The VM: made once, its one vCPU entered for each access (running.c: or for many). */
#define _GNU_SOURCE
#include "agent.h"
#include "../module/mkold_aging.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (2UL << 20)

struct vm vm = { .vm_fd = -1, .vcpu_fd = -1 };
static uint8_t *reserved[2];
static size_t n_reserved[2], run_size;
struct kvm_userspace_memory_region slots[MAX_SLOTS];
size_t n_slots;
static uint32_t *list, list_bit;
static size_t list_name;

struct mailbox *vm_mailbox(void)
{
	return (struct mailbox *)(vm.low + MAILBOX);
}

static int add_slot(uint64_t gfn, uint8_t *at, size_t n_bytes)
{
	struct kvm_userspace_memory_region *slot = &slots[n_slots];

	slot->slot = n_slots++;
	slot->guest_phys_addr = gfn * page_size;
	slot->memory_size = n_bytes;
	slot->userspace_addr = (uintptr_t)at;
	return ioctl(vm.vm_fd, KVM_SET_USER_MEMORY_REGION, slot);
}

/* ":0-63,100-127" are the pages that the guest has, a slot each; NULL: all of them. */
static int add_slots(const char *text)
{
	if (!text)
		return add_slot(BASE_GFN, vm.pages, vm.n_pages * page_size);
	for (text++; *text; text += *text == ',') {
		char *end;
		size_t first = strtoul(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (n_slots == MAX_SLOTS || last < first || last >= vm.n_pages)
			return -1;
		text = end;
		if (add_slot(BASE_GFN + first, vm.pages + first * page_size,
			     (last - first + 1) * page_size))
			return -1;
	}
	return 0;
}

static uint8_t *reserve(int which, size_t n_bytes)
{
	uint8_t *at = mmap(NULL, n_bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	reserved[which] = at;
	n_reserved[which] = n_bytes + HUGE_PAGE;
	at = (uint8_t *)(((uintptr_t)at + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	madvise(at, n_bytes, MADV_NOHUGEPAGE);
	return at;
}

/* All of it, so that the next begins afresh. */
static void vm_destroy(void)
{
	vm_halt();
	if (vm.vcpu_fd >= 0) {
		munmap(vm.run, run_size);
		close(vm.vcpu_fd);
	}
	if (vm.vm_fd >= 0)
		close(vm.vm_fd);
	for (int i = 0; i < 2; i++)
		if (reserved[i])
			munmap(reserved[i], n_reserved[i]);
	memset(slots, 0, sizeof slots);
	memset(reserved, 0, sizeof reserved);
	n_slots = 0;
	vm = (struct vm){ .vm_fd = -1, .vcpu_fd = -1 };
}

int vm_create(size_t n_pages, int huge, const char *slot_text)
{
	const char *trouble;
	int kvm;

	damon_end();
	vm_destroy();
	lru_new_group();
	vm.n_pages = n_pages;
	vm.low = reserve(0, LOW);
	vm.pages = reserve(1, n_pages * page_size);
	if (!vm.low || !vm.pages)
		return failed("memory");
	if (mlock(vm.low, LOW))
		return failed("mlock");
	if (huge)
		madvise(vm.pages, n_pages * page_size, MADV_HUGEPAGE);
	memcpy(vm.low + CODE, guest_start, guest_end - guest_start);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return failed("/dev/kvm");
	vm.vm_fd = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm.vm_fd < 0)
		return failed("KVM_CREATE_VM");
	if (add_slot(0, vm.low, LOW) || add_slots(slot_text))
		return failed("KVM_SET_USER_MEMORY_REGION");
	vm.vcpu_fd = ioctl(vm.vm_fd, KVM_CREATE_VCPU, 0);
	if (vm.vcpu_fd < 0)
		return failed("KVM_CREATE_VCPU");
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm.run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu_fd, 0);
	if (vm.run == MAP_FAILED)
		return failed("the vCPU's page");
	trouble = guest_init(kvm, vm.vm_fd, vm.vcpu_fd);
	close(kvm);
	return trouble ? failed(trouble) : done();
}

/* Until the guest's program leaves by itself. */
int vm_enter(void)
{
	for (;;) {
		if (ioctl(vm.vcpu_fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return -1;
		}
		if (vm.run->exit_reason == guest_exit)
			return 0;
		if (vm.run->exit_reason != KVM_EXIT_INTR) {
			errno = EPROTO;
			return -1;
		}
	}
}

static void add_address(size_t page)
{
	if (!vm_has(page))
		return;
	*list++ = (uint32_t)((BASE_GFN + list_name + page) * page_size + MKOLD_OFFSET(page)) |
		  list_bit;
}

/* Of the pages those that the guest has. It calls the first page BASE_GFN + first_name. It is outside, if it was in a loop. */
int vm_fill_list(int write, const char *pages, size_t first_name)
{
	long n;

	if (vm_halt())
		return -1;
	list_bit = write;
	list_name = first_name;
	list = (uint32_t *)(vm.low + LIST);
	n = each_page(pages, add_address);
	if (vm.vcpu_fd < 0 || n < 0) {
		errno = EINVAL;
		return -1;
	}
	vm_mailbox()->count = list - (uint32_t *)(vm.low + LIST);
	return 0;
}

int vm_run(int write, const char *pages)
{
	if (vm_fill_list(write, pages, 0))
		return failed("pages");
	vm_mailbox()->loop = 0;
	return vm_enter() ? failed("KVM_RUN") : done();
}
