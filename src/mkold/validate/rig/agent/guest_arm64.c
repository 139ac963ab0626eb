/* The guest on arm64: at EL1 with its own MMU off. */
#include "agent.h"

#include <linux/kvm.h>
#include <stddef.h>
#include <sys/ioctl.h>

asm(".pushsection .rodata\n"
    ".globl guest_start, guest_end\n"
    ".balign 4\n"
    "guest_start:\n"
    "again:	mov	x3, #0x2000\n"
    "	mov	x4, #0x3000\n"
    "	mov	x8, #0x3000\n" /* SEEN */
    "	movk	x8, #4, lsl #16\n"
    "	ldr	w5, [x3, #4]\n"
    "	cbz	w5, round\n"
    "next:	ldr	w6, [x4], #4\n"
    "	tbnz	w6, #0, store\n"
    "	ldr	w7, [x6]\n"
    "	b	step\n"
    "store:	and	x6, x6, #0xfffffffffffffffe\n"
    "	str	w5, [x6]\n"
    "	mov	w7, w5\n"
    "step:	str	w7, [x8], #4\n"
    "	subs	w5, w5, #1\n"
    "	b.ne	next\n"
    "round:	ldr	w5, [x3, #8]\n"
    "	add	w5, w5, #1\n"
    "	str	w5, [x3, #8]\n"
    "	ldr	w5, [x3]\n"
    "	cbnz	w5, again\n"
    "	mov	x6, #0xf0000000\n"
    "	str	w5, [x6]\n"
    "	b	again\n"
    "guest_end:\n"
    ".popsection\n");

const uint32_t guest_exit = KVM_EXIT_MMIO;

const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd)
{
	uint64_t pc = CODE;
	struct kvm_one_reg set_pc = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&pc,
	};
	struct kvm_vcpu_init target;

	(void)kvm_fd;
	if (ioctl(vm_fd, KVM_ARM_PREFERRED_TARGET, &target))
		return "KVM_ARM_PREFERRED_TARGET";
	if (ioctl(vcpu_fd, KVM_ARM_VCPU_INIT, &target))
		return "KVM_ARM_VCPU_INIT";
	return ioctl(vcpu_fd, KVM_SET_ONE_REG, &set_pc) ? "KVM_SET_ONE_REG" : NULL;
}
