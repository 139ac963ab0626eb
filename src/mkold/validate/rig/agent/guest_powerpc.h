/* What guests on powerpc have in common: the program that touches pages, and a vCPU's start in
 * little-endian real mode, of which the VM's own table remains. */
#ifndef MKOLD_GUEST_POWERPC_H
#define MKOLD_GUEST_POWERPC_H

#include "agent.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

/* Through the list; out of the guest when the VMM does not say to go round. */
#define TOUCH_AND_LEAVE \
    "touch:	li	3, 0x2000\n" \
    "	li	4, 0x3000\n" \
    "	li	12, 0x3000\n" /* SEEN */ \
    "	oris	12, 12, 4\n" \
    "	lwz	5, 4(3)\n" \
    "	cmpwi	5, 0\n" \
    "	beq	round\n" \
    "	mtctr	5\n" \
    "next:	lwz	6, 0(4)\n" \
    "	addi	4, 4, 4\n" \
    "	andi.	7, 6, 1\n" \
    "	clrrdi	6, 6, 1\n" \
    "	bne	store\n" \
    "	lwz	7, 0(6)\n" \
    "	b	step\n" \
    "store:	stw	4, 0(6)\n" \
    "	mr	7, 4\n" \
    "step:	stw	7, 0(12)\n" \
    "	addi	12, 12, 4\n" \
    "	bdnz	next\n" \
    "round:	lwz	5, 8(3)\n" \
    "	addi	5, 5, 1\n" \
    "	stw	5, 8(3)\n" \
    "	lwz	5, 0(3)\n" \
    "	cmpwi	5, 0\n" \
    "	bne	touch\n" \
    "leave:	li	3, 0\n" \
    "	ori	3, 3, 0xf100\n" \
    "	sc	1\n"

#define MSR_SF (1UL << 63)
#define MSR_ME (1UL << 12)
#define MSR_LE 1UL
#define GUEST_MSR (MSR_SF | MSR_ME | MSR_LE)

static inline const char *start_vcpu(int vcpu_fd)
{
	struct kvm_enable_cap papr = { .cap = KVM_CAP_PPC_PAPR };
	struct kvm_regs regs;

	if (ioctl(vcpu_fd, KVM_ENABLE_CAP, &papr))
		return "KVM_CAP_PPC_PAPR";
	if (ioctl(vcpu_fd, KVM_GET_REGS, &regs))
		return "KVM_GET_REGS";
	regs.pc = CODE;
	regs.msr = GUEST_MSR;
	return ioctl(vcpu_fd, KVM_SET_REGS, &regs) ? "KVM_SET_REGS" : NULL;
}

#endif
