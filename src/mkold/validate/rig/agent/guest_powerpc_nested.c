/* The guest on powerpc that has a guest: L1, the VM, runs L2.
 *
 * Both run the same program in real mode. L1 also makes a hypercall when it finds one at CALL;
 * what to call and how L1's tables change is decided here, in L1's place. L2's memory is L1's,
 * at the same addresses, as far as L1's table of it says so. That table is a radix tree in
 * L1's lowest memory, as no hardware sees it (L0 reads it): entries are big-endian.
 */
#include "guest_powerpc.h"

#include <asm/ptrace.h>

asm(".pushsection .rodata\n"
    ".globl guest_start, guest_end\n"
    ".balign 4\n"
    "guest_start:\n"
    "again:	li	8, 0x2200\n"
    "	ld	3, 0(8)\n"
    "	cmpdi	3, 0\n"
    "	beq	touch\n"
    "	li	9, 0\n"
    "	std	9, 0(8)\n" /* L2 is not to call too */
    "	ld	4, 8(8)\n"
    "	ld	5, 16(8)\n"
    "	ld	6, 24(8)\n"
    "	sc	1\n"
    "	li	8, 0x2200\n"
    "	std	3, 32(8)\n"
    "	b	leave\n" TOUCH_AND_LEAVE
    "	b	again\n"
    "guest_end:\n"
    ".popsection\n");

const uint32_t guest_exit = KVM_EXIT_PAPR_HCALL;

#define LPCR_LD (1UL << 17)

#define H_SET_PARTITION_TABLE 0xf800UL
#define H_ENTER_NESTED 0xf804UL
#define H_TLB_INVALIDATE 0xf808UL
#define TRAP_DATA_STORAGE 0xe00
#define TRAP_HYPERCALL 0xc00

/* In L1's lowest memory; the program, the mailbox and the list lie there too. */
#define CALL 0x2200UL
#define L2_STATE 0x2400UL
#define L2_REGS 0x2800UL
#define SHARED 0x80000UL /* below it all is L2's too */
#define PARTITIONS 0x80000UL
#define ROOT 0x90000UL
#define TABLES 0xa0000UL
#define L2_LPID 1
#define MOST_ENTRIES 1000000

#define PTE_PRESENT (1UL << 63)
#define PTE_LEAF (1UL << 62)
#define PTE_ADDRESS 0x01fffffffffff000UL
#define PTE_R 0x100UL
#define PTE_C 0x80UL
#define PTE_READ 4UL
#define PTE_WRITE 2UL
#define PTE_EXEC 1UL
#define TABLE_ADDRESS 0x0fffffffffffff00UL
#define TREE_OF_52_BITS (2UL << 61 | 5UL << 5)
#define HOST_RADIX (1UL << 63)
#define DSISR_ISSTORE 0x2000000UL
#define RIC_TLB 0UL
#define RIC_ALL 2UL
#define IS_LPID (2UL << 10)

struct call {
	volatile uint64_t name, arguments[3], result;
};

/* A guest's state as H_ENTER_NESTED takes it, in version 1. */
struct l2_state {
	uint64_t version;
	uint32_t lpid, vcpu_token;
	uint64_t lpcr, pcr, amor, dpdes, hfscr;
	int64_t tb_offset;
	uint64_t dawr0, dawrx0, ciabr, hdec_expiry, purr, spurr, ic, vtb;
	uint64_t hdar, hdsisr, heir, asdr;
	uint64_t srr0, srr1, sprg[4], pidr, cfar, ppr;
};

static uint64_t next_table;

static uint64_t hypercall(uint64_t name, uint64_t a, uint64_t b, uint64_t c)
{
	struct call *call = (struct call *)(vm.low + CALL);

	call->arguments[0] = a;
	call->arguments[1] = b;
	call->arguments[2] = c;
	call->result = -1;
	call->name = name;
	return vm_enter() ? (uint64_t)-1 : call->result;
}

static uint64_t *word_at(uint64_t address)
{
	return (uint64_t *)(vm.low + address);
}

/* L1's entry for an address of L2; tables on the way are made. */
static uint64_t *l1_entry(uint64_t address)
{
	int last = page_size == 65536 ? 5 : 9;
	int bits[4] = { 13, 9, 9, last }, offset = 52;
	uint64_t table = ROOT;

	for (int level = 0;; level++) {
		uint64_t *entry;

		offset -= bits[level];
		entry = word_at(table) + (address >> offset & ((1UL << bits[level]) - 1));
		if (level == 3)
			return entry;
		if (!*entry) {
			if (next_table + 4096 > LOW)
				return NULL;
			*entry = __builtin_bswap64(PTE_PRESENT | next_table | bits[level + 1]);
			next_table += 4096;
		}
		table = __builtin_bswap64(*entry) & TABLE_ADDRESS;
	}
}

static uint64_t *page_entry(size_t page)
{
	return l1_entry((BASE_GFN + page) * page_size);
}

static int l1_map(uint64_t address, uint64_t bits)
{
	uint64_t *entry = l1_entry(address), old;

	if (!entry)
		return -1;
	old = __builtin_bswap64(*entry);
	*entry = __builtin_bswap64(PTE_PRESENT | PTE_LEAF | address | bits |
				   (old & (PTE_R | PTE_C)));
	return 0;
}

/* L1's own fault handler: L2 has all of its memory, and L1 sees who reads and who writes. */
static int l1_fault(const struct l2_state *state)
{
	uint64_t c = state->hdsisr & DSISR_ISSTORE ? PTE_C : 0;

	return l1_map(state->asdr & PTE_ADDRESS & ~(page_size - 1),
		      PTE_READ | PTE_WRITE | PTE_R | c);
}

static int l2_enter(void)
{
	struct l2_state *state = (struct l2_state *)(vm.low + L2_STATE);
	struct pt_regs *regs = (struct pt_regs *)(vm.low + L2_REGS);

	memset(state, 0, sizeof *state);
	memset(regs, 0, LIST - L2_REGS);
	state->version = 1;
	state->lpid = L2_LPID;
	state->lpcr = LPCR_LD;
	state->hdec_expiry = __builtin_ppc_get_timebase() + (1UL << 38);
	regs->nip = CODE;
	regs->msr = GUEST_MSR;
	for (int i = 0; i < MOST_ENTRIES; i++) {
		uint64_t trap = hypercall(H_ENTER_NESTED, L2_STATE, L2_REGS, 0);

		if (trap == TRAP_HYPERCALL)
			return 0;
		if ((int64_t)trap < 0 || (trap == TRAP_DATA_STORAGE && l1_fault(state)))
			break;
	}
	errno = EPROTO;
	return -1;
}

static int l2_touch(int write, const char *pages)
{
	if (vm_fill_list(write, pages, 0))
		return failed("pages");
	vm_mailbox()->loop = 0;
	return l2_enter() ? failed("L2") : done();
}

static int invalidate(uint64_t ric, uint64_t rb)
{
	return hypercall(H_TLB_INVALIDATE, ric << 18 | 1 << 16, L2_LPID, rb) != 0;
}

static uint64_t bits_to_clear;
static int refused;

static void change_page(size_t page)
{
	uint64_t *entry = page_entry(page), old = __builtin_bswap64(*entry);
	uint64_t ap = page_size == 65536 ? 5 : 0;

	if (!old)
		return;
	*entry = bits_to_clear ? __builtin_bswap64(old & ~bits_to_clear) : 0;
	refused |= invalidate(RIC_TLB, (BASE_GFN + page) * page_size | ap << 5);
}

/* L1 takes pages away from L2, or bits of its entries; then it says so. */
static int l1_change(uint64_t bits, const char *pages)
{
	bits_to_clear = bits;
	refused = 0;
	if (each_page(pages, change_page) < 0)
		return failed("pages");
	errno = EPROTO;
	return refused ? failed("H_TLB_INVALIDATE") : done();
}

static uint8_t *young;

static void age_page(size_t page)
{
	uint64_t *entry = page_entry(page), old = __builtin_bswap64(*entry);

	young[page] = (old & PTE_R) != 0;
	*entry = __builtin_bswap64(old & ~PTE_R);
}

/* L1 clears R in its own table, and tells nobody. */
static int l1_age(const char *pages)
{
	young = calloc(vm.n_pages, 1);
	each_page(pages, age_page);
	put_bitmap(young, vm.n_pages);
	free(young);
	return done();
}

static int l1_flush(uint64_t ric)
{
	errno = EPROTO;
	return invalidate(ric, IS_LPID) ? failed("H_TLB_INVALIDATE") : done();
}

int guest_command(const char *name, const char *word, const char *more)
{
	if (!strcmp(name, "l2"))
		l2_touch(*word == 'w', more);
	else if (!strcmp(name, "l1-protect") || !strcmp(name, "l1-unmap"))
		l1_change(name[3] == 'p' ? PTE_WRITE | PTE_C : 0, word);
	else if (!strcmp(name, "l1-age"))
		l1_age(word);
	else if (!strcmp(name, "l1-flush"))
		l1_flush(*word == 'a' ? RIC_ALL : RIC_TLB);
	else
		return -1;
	return 0;
}

const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd)
{
	struct kvm_enable_cap nested = { .cap = KVM_CAP_PPC_NESTED_HV, .args = { 1 } };
	const char *trouble;

	(void)kvm_fd;
	if (ioctl(vm_fd, KVM_ENABLE_CAP, &nested))
		return "KVM_CAP_PPC_NESTED_HV";
	trouble = start_vcpu(vcpu_fd);
	if (trouble)
		return trouble;
	next_table = TABLES;
	errno = E2BIG;
	for (uint64_t at = 0; at < SHARED; at += page_size)
		if (l1_map(at, PTE_READ | PTE_WRITE | PTE_EXEC | PTE_R | PTE_C))
			return "L1's table";
	for (size_t page = 0; page < vm.n_pages; page++)
		if (!page_entry(page))
			return "L1's table";
	word_at(PARTITIONS)[2 * L2_LPID] =
		__builtin_bswap64(HOST_RADIX | TREE_OF_52_BITS | ROOT | 13);
	errno = EPROTO;
	return hypercall(H_SET_PARTITION_TABLE, PARTITIONS, 0, 0) ? "H_SET_PARTITION_TABLE" : NULL;
}
