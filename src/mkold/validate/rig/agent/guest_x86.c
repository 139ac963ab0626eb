/* The guest on x86: 32-bit protected mode, no paging of its own. */
#include "agent.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

asm(".pushsection .rodata\n"
    ".code32\n"
    ".globl guest_start, guest_end\n"
    "guest_start:\n"
    "again:	cld\n"
    "	movl	$0x3000, %esi\n"
    "	movl	0x2004, %ecx\n"
    "	jecxz	round\n"
    "next:	lodsl\n"
    "	btrl	$0, %eax\n"
    "	jc	store\n"
    "	movl	(%eax), %edx\n"
    "	jmp	step\n"
    "store:	movl	%ecx, (%eax)\n"
    "	movl	%ecx, %edx\n"
    "step:	movl	%edx, 0x3fffc(%esi)\n" /* SEEN */
    "	loop	next\n"
    "round:	incl	0x2008\n"
    "	cmpl	$0, 0x2000\n"
    "	jne	again\n"
    "	outb	%al, $0x10\n"
    "	jmp	again\n"
    "guest_end:\n"
    ".code64\n"
    ".popsection\n");

const uint32_t guest_exit = KVM_EXIT_IO;

const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd)
{
	struct kvm_segment flat = {
		.limit = ~0u, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1,
	};
	struct kvm_regs regs = { .rip = CODE, .rsp = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	(void)kvm_fd, (void)vm_fd;
	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs))
		return "KVM_GET_SREGS";
	sregs.cs = flat;
	flat.type = 3;
	flat.selector = 16;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.cr0 |= 1;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs))
		return "KVM_SET_SREGS";
	return ioctl(vcpu_fd, KVM_SET_REGS, &regs) ? "KVM_SET_REGS" : NULL;
}
