/* The guest on powerpc with a hash table: in real mode, which there is one virtual segment.
 *
 * KVM enters the guest's lowest memory into the table by itself. For all other pages the guest
 * is its own kernel: at a data storage interrupt it enters the page, read-only if it was read
 * (H_ENTER), or lets it be written (H_PROTECT); as Linux does. What to enter where, the VMM wrote
 * into a record for each page; the guest keeps there where the entry is.
 *
 * Behind the pages lie as many virtual pages again: second names of the same, with entries of
 * their own.
 */
#include "guest_powerpc.h"

asm(".pushsection .rodata\n"
    ".globl guest_start, guest_end\n"
    ".balign 4\n"
    "guest_start:\n" TOUCH_AND_LEAVE
    "	b	touch\n"
    /* The data storage interrupt, with registers that the program above does not use. */
    "dsi:	mfctr	19\n" /* this, SRR0 and SRR1: the hypervisor's calls change them */
    "	mfspr	25, 26\n"
    "	mfspr	26, 27\n"
    "	mr	20, 3\n"
    "	mr	21, 4\n"
    "	mr	22, 5\n"
    "	mr	23, 6\n"
    "	mr	24, 7\n"
    "	li	8, 0x2100\n"
    "	ld	9, 0(8)\n"
    "	ld	10, 8(8)\n"
    "	mfspr	11, 19\n" /* DAR */
    "	subf	11, 9, 11\n"
    "	srd	11, 11, 10\n"
    "	sldi	11, 11, 5\n"
    "	addis	29, 11, 8\n" /* RECORDS */
    "	mfspr	28, 18\n" /* DSISR: a store makes the page dirty for good */
    "	srwi	28, 28, 24\n"
    "	ld	30, 24(29)\n"
    "	or	28, 28, 30\n"
    "	andi.	28, 28, 2\n"
    "	andi.	10, 30, 1\n"
    "	beq	enter\n"
    "	srdi	9, 28, 1\n" /* it is entered: PP as the page is now, if it still is */
    "	xori	9, 9, 3\n"
    "	li	4, 1\n"
    "	sldi	4, 4, 32\n"
    "	or	4, 4, 9\n"
    "	srdi	5, 30, 8\n"
    "	ld	6, 8(29)\n"
    "	clrrdi	6, 6, 7\n"
    "	li	3, 0x18\n"
    "	sc	1\n"
    "	or	30, 30, 28\n"
    "	cmpdi	3, 0\n"
    "	beq	note\n"
    "enter:	li	4, 0\n"
    "	ld	5, 0(29)\n"
    "	ld	6, 8(29)\n"
    "	ld	7, 16(29)\n"
    "	cmpdi	28, 0\n"
    "	beq	clean\n"
    "	xori	7, 7, 0x81\n" /* may be written, C */
    "clean:	li	3, 0x8\n"
    "	sc	1\n"
    "stuck:	cmpdi	3, 0\n"
    "	bne	stuck\n"
    "	sldi	30, 4, 8\n"
    "	or	30, 30, 28\n"
    "	ori	30, 30, 1\n"
    "note:	std	30, 24(29)\n"
    "back:	mr	3, 20\n"
    "	mr	4, 21\n"
    "	mr	5, 22\n"
    "	mr	6, 23\n"
    "	mr	7, 24\n"
    "	mtctr	19\n"
    "	mtspr	26, 25\n"
    "	mtspr	27, 26\n"
    "	rfid\n"
    "guest_dsi_offset:\n"
    "	.long	dsi - guest_start\n"
    "guest_end:\n"
    ".popsection\n");

extern const uint32_t guest_dsi_offset;
const uint32_t guest_exit = KVM_EXIT_PAPR_HCALL;

#define LPCR_ILE (1UL << 25)
#define PATB_GR (1UL << 63)
#define DSI_VECTOR 0x300UL
#define PLACE 0x2100UL
#define RECORDS 0x80000UL
#define HPT_ORDER 18
#define N_GROUPS (1UL << (HPT_ORDER - 7))

#define HPTE_V_1TB_SEG (1UL << 62)
#define HPTE_V_LARGE 4UL
#define HPTE_R_64K 0x1000UL
#define HPTE_R_R 0x100UL
#define HPTE_R_M 0x10UL
#define PP_RXRX 3UL
#define VRMA_VSID 0x1ffffffUL

static int has_names;

/* Of a virtual page: where it is to be entered, as what; and as the guest has it: whether it is
 * entered (bit 0), whether it is dirty (bit 1), and where it is (from bit 8 on). */
struct record {
	uint64_t index, pteh, ptel, state;
};

/* What the guest's program reads: the first page's address, and log2 of a page's size. */
struct place {
	uint64_t base, shift;
};

static void write_record(struct record *record, uint64_t virtual, uint64_t address)
{
	uint64_t shift = __builtin_ctzl(page_size);
	uint64_t hash = (virtual >> shift) ^ VRMA_VSID ^ VRMA_VSID << 25;
	int is_64k = page_size == 65536;

	record->index = (hash & (N_GROUPS - 1)) << 3;
	record->pteh = HPTE_V_1TB_SEG | VRMA_VSID << 24 | (virtual >> 16 & ~0x7fUL) |
		       (is_64k ? HPTE_V_LARGE : 0);
	record->ptel = address | HPTE_R_R | HPTE_R_M | PP_RXRX | (is_64k ? HPTE_R_64K : 0);
}

/* An empty table, whatever there was; or the radix tree. */
static int set_mmu(int is_hash)
{
	struct kvm_ppc_mmuv3_cfg radix = { KVM_PPC_MMUV3_RADIX | KVM_PPC_MMUV3_GTSE, PATB_GR };
	uint32_t order = HPT_ORDER;

	has_names = is_hash;
	if (is_hash)
		return ioctl(vm.vm_fd, KVM_PPC_ALLOCATE_HTAB, &order);
	return ioctl(vm.vm_fd, KVM_PPC_CONFIGURE_V3_MMU, &radix);
}

static int touch_alias(int write, const char *pages)
{
	if (vm_fill_list(write, pages, has_names ? vm.n_pages : 0))
		return failed("pages");
	vm_mailbox()->loop = 0;
	return vm_enter() ? failed("KVM_RUN") : done();
}

int guest_command(const char *name, const char *word, const char *more)
{
	if (!strcmp(name, "alias"))
		touch_alias(*word == 'w', more);
	else if (strcmp(name, "mmu"))
		return -1;
	else if (set_mmu(!strcmp(word, "hash")))
		failed(word);
	else
		done();
	return 0;
}

static int set_lpcr(int vcpu_fd)
{
	uint64_t lpcr = 0;
	struct kvm_one_reg reg = { .id = KVM_REG_PPC_LPCR_64, .addr = (uintptr_t)&lpcr };

	if (ioctl(vcpu_fd, KVM_GET_ONE_REG, &reg))
		return -1;
	lpcr |= LPCR_ILE;
	return ioctl(vcpu_fd, KVM_SET_ONE_REG, &reg);
}

const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd)
{
	struct record *records = (struct record *)(vm.low + RECORDS);
	struct place *place = (struct place *)(vm.low + PLACE);
	uint64_t base = BASE_GFN * page_size;

	(void)kvm_fd, (void)vm_fd;
	errno = E2BIG;
	if (vm.n_pages > N_GROUPS)
		return "a table for so many pages";
	for (size_t i = 0; i < 2 * vm.n_pages; i++)
		write_record(&records[i], base + i * page_size,
			     base + i % vm.n_pages * page_size);
	*place = (struct place){ base, __builtin_ctzl(page_size) };
	*(uint32_t *)(vm.low + DSI_VECTOR) = 0x48000002 | (CODE + guest_dsi_offset);
	if (set_mmu(1))
		return "a hash table";
	if (set_lpcr(vcpu_fd))
		return "KVM_REG_PPC_LPCR_64";
	return start_vcpu(vcpu_fd);
}
