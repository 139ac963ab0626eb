/* The guest on x86 with a guest of its own: it (L1) has SVM, and nested page tables.
 *
 * L1 runs in long mode's 32-bit submode, so that its nested tables have four levels. Its guest
 * (L2) runs the same list of accesses as L1 does; its way out, an OUT, is intercepted by L1.
 * L1 writes its tables itself, as it is ordered here. L2's pages lie APART entries from each
 * other: KVM maps entries beside the one that faulted in advance, and there are none.
 */
#define guest_init flat_init
#include "guest_x86.c"
#undef guest_init

#define TABLES 0x80000UL /* L1's own: root, next, 2 MiB pages */
#define VMCB 0x83000UL
#define HSAVE 0x84000UL
#define IOPM 0x85000UL /* three pages */
#define ORDERS 0xb0000UL
#define L1_CODE 0x8f000UL
#define NESTED 0x90000UL /* root, next, next, one for LOW */
#define LEAVES 0xc0000UL /* those of the pages under test */
#define PER_TABLE 512UL
#define APART 64UL
#define MOST_PAGES ((LOW - LEAVES) / 4096 * (PER_TABLE / APART))

#define WRITABLE 0x02UL
#define FRESH 0x07UL /* present, writable, user */
#define ACCESSED 0x20UL
#define DIRTY 0x40UL
#define ENTRY (FRESH | ACCESSED | DIRTY)
#define LARGE 0x80UL

#define EXIT_IO 0x7bUL
#define MSR_HSAVE 0xc0010117
#define EFER_LONG_SVM 0x1500UL /* LME, LMA, SVME */

/* What L1's program is told, at ORDERS: entries to write, and whether to enter L2. */
struct orders {
	volatile uint32_t enter, count;
	struct { uint32_t at, entry; } writes[MOST_PAGES];
};

asm(".pushsection .rodata\n"
    ".code32\n"
    "l1_start:\n"
    "	cld\n"
    "	movl	0xb0004, %ecx\n"
    "	movl	$0xb0008, %esi\n"
    "	jecxz	2f\n"
    "1:	lodsl\n"
    "	movl	%eax, %edi\n"
    "	movsl\n"
    "	loop	1b\n"
    "2:	cmpl	$0, 0xb0000\n"
    "	je	3f\n"
    "	movl	$0x83000, %eax\n"
    "	movl	$0x1000, 0x578(%eax)\n"
    "	vmrun	%eax\n"
    "	stgi\n"
    "3:	outb	%al, $0x10\n"
    "	jmp	l1_start\n"
    "l1_end:\n"
    ".code64\n"
    ".popsection\n");

extern const char l1_start[], l1_end[];

static void put(unsigned long at, uint64_t value)
{
	memcpy(vm.low + at, &value, sizeof value);
}

static void put32(unsigned long at, uint32_t value)
{
	memcpy(vm.low + at, &value, sizeof value);
}

/* The low half of L1's entry of a page; the high half is always 0. */
static uint32_t *entry_of(size_t page)
{
	return (uint32_t *)(vm.low + LEAVES + page * APART * 8);
}

static void fill_tables(void)
{
	put(TABLES, (TABLES + 0x1000) | ENTRY);
	put(TABLES + 0x1000, (TABLES + 0x2000) | ENTRY);
	for (unsigned long i = 0; i < PER_TABLE; i++)
		put(TABLES + 0x2000 + i * 8, i << 21 | ENTRY | LARGE);
	put(NESTED, (NESTED + 0x1000) | ENTRY);
	put(NESTED + 0x1000, (NESTED + 0x2000) | ENTRY);
	put(NESTED + 0x2000, (NESTED + 0x3000) | ENTRY);
	for (unsigned long gfn = 0; gfn < LOW / 4096; gfn++)
		put(NESTED + 0x3000 + gfn * 8, gfn << 12 | ENTRY);
	for (unsigned long i = 0; i * 4096 < LOW - LEAVES; i++)
		put(NESTED + 0x2000 + (BASE_GFN / PER_TABLE + i) * 8, (LEAVES + i * 4096) | ENTRY);
}

static void put_segment(unsigned long at, uint16_t attributes)
{
	put(at, 8 | (uint64_t)attributes << 16 | 0xffffffffUL << 32);
}

/* L2 begins as L1 did: 32-bit protected mode, no paging of its own. */
static void fill_vmcb(void)
{
	memset(vm.low + IOPM, 0xff, 0x3000);
	put32(VMCB + 0x00c, 1u << 27);
	put32(VMCB + 0x010, 1);
	put(VMCB + 0x040, IOPM);
	put32(VMCB + 0x058, 1);
	put(VMCB + 0x090, 1);
	put(VMCB + 0x0b0, NESTED);
	put_segment(VMCB + 0x410, 0xc9b);
	for (unsigned long at = 0x400; at <= 0x450; at += 0x10)
		if (at != 0x410)
			put_segment(VMCB + at, 0xc93);
	put(VMCB + 0x4d0, 0x1000);
	put(VMCB + 0x558, 0x11);
	put(VMCB + 0x560, 0x400);
	put(VMCB + 0x568, 0xffff0ff0);
	put(VMCB + 0x570, 2);
	put(VMCB + 0x668, 0x0007040600070406);
}

static const char *allow_svm(int kvm_fd, int vcpu_fd)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[200];
	} cpuid = { .head.nent = 200 };
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = { .head.nmsrs = 1, .entry = { .index = MSR_HSAVE, .data = HSAVE } };
	struct kvm_sregs sregs;

	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid) ||
	    ioctl(vcpu_fd, KVM_SET_CPUID2, &cpuid))
		return "KVM_SET_CPUID2";
	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs))
		return "KVM_GET_SREGS";
	sregs.cr3 = TABLES;
	sregs.cr4 |= 1 << 5;
	sregs.efer |= EFER_LONG_SVM;
	sregs.cr0 |= 1u << 31;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs))
		return "KVM_SET_SREGS";
	return ioctl(vcpu_fd, KVM_SET_MSRS, &msr) == 1 ? NULL : "KVM_SET_MSRS";
}

const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd)
{
	const char *trouble = flat_init(kvm_fd, vm_fd, vcpu_fd);

	if (vm.n_pages > MOST_PAGES) {
		errno = E2BIG;
		return "L1's tables";
	}
	memcpy(vm.low + L1_CODE, l1_start, l1_end - l1_start);
	fill_tables();
	fill_vmcb();
	return trouble ? trouble : allow_svm(kvm_fd, vcpu_fd);
}

static struct orders *orders(void)
{
	return (struct orders *)(vm.low + ORDERS);
}

static void order(size_t page, uint32_t entry)
{
	struct orders *all = orders();

	if (*entry_of(page) == entry)
		return;
	all->writes[all->count].at = LEAVES + page * APART * 8;
	all->writes[all->count].entry = entry;
	all->count++;
}

static int write_wanted;
static uint32_t *list_end;

/* L1 maps what L2 is about to touch, where that lacks; and L2 gets its address. */
static void order_access(size_t page)
{
	uint32_t old = *entry_of(page);

	if (!old)
		order(page, (BASE_GFN + page) << 12 | FRESH);
	else if (write_wanted)
		order(page, old | WRITABLE);
	*list_end++ = (uint32_t)((BASE_GFN + page * APART) << 12) + 64 * (page % 60) + write_wanted;
}

static uint32_t bits_to_clear;
static uint8_t *had;

static void order_clear(size_t page)
{
	uint32_t old = *entry_of(page);

	had[page] = (old & bits_to_clear) != 0;
	order(page, bits_to_clear ? old & ~bits_to_clear : 0);
}

static int l1_runs(int and_l2)
{
	struct kvm_regs regs;
	uint64_t code;

	orders()->enter = and_l2;
	if (ioctl(vm.vcpu_fd, KVM_GET_REGS, &regs))
		return -1;
	regs.rip = L1_CODE;
	if (ioctl(vm.vcpu_fd, KVM_SET_REGS, &regs) || vm_enter())
		return -1;
	regs.rip = CODE;
	memcpy(&code, vm.low + VMCB + 0x70, sizeof code);
	if (and_l2 && code != EXIT_IO) {
		errno = EPROTO;
		return -1;
	}
	return ioctl(vm.vcpu_fd, KVM_SET_REGS, &regs);
}

static int l2_touch(int write, const char *pages)
{
	long n;

	orders()->count = 0;
	write_wanted = write;
	list_end = (uint32_t *)(vm.low + LIST);
	n = each_page(pages, order_access);
	if (n < 0) {
		errno = EINVAL;
		return failed("pages");
	}
	vm_mailbox()->count = n;
	vm_mailbox()->loop = 0;
	return l1_runs(1) ? failed("L2") : done();
}

/* L1 takes bits (0: all) from its entries, and does not enter L2. */
static int l1_clear(uint32_t bits, int answer, const char *pages)
{
	int broken;

	orders()->count = 0;
	bits_to_clear = bits;
	had = calloc(vm.n_pages, 1);
	each_page(pages, order_clear);
	broken = l1_runs(0);
	if (!broken && answer)
		put_bitmap(had, vm.n_pages);
	free(had);
	return broken ? failed("L1") : done();
}

int guest_command(const char *name, const char *word, const char *more)
{
	if (!strcmp(name, "l2"))
		l2_touch(*word == 'w', more);
	else if (!strcmp(name, "l1-unmap"))
		l1_clear(0, 0, word);
	else if (!strcmp(name, "l1-protect"))
		l1_clear(WRITABLE, 0, word);
	else if (!strcmp(name, "l1-clean"))
		l1_clear(DIRTY, 1, word);
	else if (!strcmp(name, "l1-age"))
		l1_clear(ACCESSED, 1, word);
	else
		return -1;
	return 0;
}
