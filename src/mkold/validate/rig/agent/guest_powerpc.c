/* The guest on powerpc: it touches pages, and that is all. */
#include "guest_powerpc.h"

asm(".pushsection .rodata\n"
    ".globl guest_start, guest_end\n"
    ".balign 4\n"
    "guest_start:\n" TOUCH_AND_LEAVE
    "	b	touch\n"
    "guest_end:\n"
    ".popsection\n");

const uint32_t guest_exit = KVM_EXIT_PAPR_HCALL;

const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd)
{
	(void)kvm_fd, (void)vm_fd;
	return start_vcpu(vcpu_fd);
}
