/* The guest on powerpc: little-endian real mode, of which the VM's own table remains. */
#include "agent.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

asm(".pushsection .rodata\n"
    ".globl guest_start, guest_end\n"
    ".balign 4\n"
    "guest_start:\n"
    "again:	li	3, 0x2000\n"
    "	li	4, 0x3000\n"
    "	lwz	5, 4(3)\n"
    "	cmpwi	5, 0\n"
    "	beq	round\n"
    "	mtctr	5\n"
    "next:	lwz	6, 0(4)\n"
    "	addi	4, 4, 4\n"
    "	andi.	7, 6, 1\n"
    "	clrrdi	6, 6, 1\n"
    "	bne	store\n"
    "	lwz	7, 0(6)\n"
    "	b	step\n"
    "store:	stw	4, 0(6)\n"
    "step:	bdnz	next\n"
    "round:	lwz	5, 8(3)\n"
    "	addi	5, 5, 1\n"
    "	stw	5, 8(3)\n"
    "	lwz	5, 0(3)\n"
    "	cmpwi	5, 0\n"
    "	bne	again\n"
    "	li	3, 0\n"
    "	ori	3, 3, 0xf100\n"
    "	sc	1\n"
    "	b	again\n"
    "guest_end:\n"
    ".popsection\n");

const uint32_t guest_exit = KVM_EXIT_PAPR_HCALL;

#define MSR_SF (1UL << 63)
#define MSR_ME (1UL << 12)
#define MSR_LE 1UL

const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd)
{
	struct kvm_enable_cap papr = { .cap = KVM_CAP_PPC_PAPR };
	struct kvm_regs regs;

	(void)kvm_fd, (void)vm_fd;
	if (ioctl(vcpu_fd, KVM_ENABLE_CAP, &papr))
		return "KVM_CAP_PPC_PAPR";
	if (ioctl(vcpu_fd, KVM_GET_REGS, &regs))
		return "KVM_GET_REGS";
	regs.pc = CODE;
	regs.msr = MSR_SF | MSR_ME | MSR_LE;
	return ioctl(vcpu_fd, KVM_SET_REGS, &regs) ? "KVM_SET_REGS" : NULL;
}
