// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /dev/mkold-aging: the kernel's own calls for page aging, page by page, on the memory of the
 * process that asks. A test's aid: it trusts its user, and belongs on no machine that matters.
 *
 * The notifier calls are not exported. Their addresses come from kallsyms_lookup_name(), whose
 * own address a kprobe gives; that may lie behind the function's entry, so it is stepped back.
 */
#include <linux/highmem.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <asm/tlbflush.h>

#include "mkold_aging.h"

#define MOST_PAGES (1u << 22)

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Page aging calls for a process's own memory");

static unsigned long (*lookup)(const char *name);
static int (*clear_young)(struct mm_struct *mm, unsigned long start, unsigned long end);
static int (*clear_flush_young)(struct mm_struct *mm, unsigned long start, unsigned long end);
static int (*test_young)(struct mm_struct *mm, unsigned long address);
static void (*drain_all)(void);
static int lie;

/* The entry that maps a page; sets *huge if that is a PMD. */
static pte_t *host_pte(struct mm_struct *mm, unsigned long address, bool *huge)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	if (pud_none(*pud))
		return NULL;
	pmd = pmd_offset(pud, address);
	if (pmd_none(*pmd))
		return NULL;
	*huge = pmd_leaf(*pmd);
	if (*huge)
		return (pte_t *)pmd; /* its accessed bit is where a small entry has it */
	return pte_offset_kernel(pmd, address);
}

static bool clear_host_young(struct mm_struct *mm, unsigned long address, pte_t *pte)
{
#if defined(CONFIG_ARM64) && LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	return __ptep_test_and_clear_young(NULL, address, pte);
#elif defined(CONFIG_ARM64)
	return __ptep_test_and_clear_young(pte);
#elif defined(CONFIG_PPC)
	return radix__pte_update(mm, address, pte, _PAGE_ACCESSED, 0, 0) & _PAGE_ACCESSED;
#else
	return test_and_clear_bit(_PAGE_BIT_ACCESSED, (unsigned long *)pte);
#endif
}

/* One CPU only: that of the caller. */
static void flush_host(struct mm_struct *mm)
{
#if defined(CONFIG_ARM64)
	flush_tlb_all();
#elif defined(CONFIG_PPC)
	/* tlbie, RIC 2, PRS 1, R 1, IS 1: all of this process */
	asm volatile(".machine push; .machine power9; ptesync; tlbie %0,%1,2,1,1; eieio;"
		     "tlbsync; ptesync; .machine pop"
		     :: "r"(0xc00UL), "r"((unsigned long)mm->context.id << 32) : "memory");
#else
	unsigned long cr3;

	asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3) :: "memory");
#endif
}

static unsigned int generation(pte_t pte)
{
#ifdef CONFIG_LRU_GEN
	struct page *head = compound_head(pte_page(pte));
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	unsigned long flags = head->flags.f;
#else
	unsigned long flags = head->flags;
#endif
	return (flags & LRU_GEN_MASK) >> LRU_GEN_PGOFF;
#else
	return 0;
#endif
}

static u8 byte_of(pte_t pte, u32 page)
{
	u8 *at = kmap_local_page(pte_page(pte)), byte = at[MKOLD_OFFSET(page)];

	kunmap_local(at);
	return byte;
}

static u8 host_answer(struct mm_struct *mm, unsigned int op, unsigned long at, u32 page)
{
	bool huge = false;
	pte_t *ptep = host_pte(mm, at, &huge), pte;

	if (!ptep)
		return false;
	pte = READ_ONCE(*ptep);
	if (!pte_present(pte))
		return false;
	switch (op) {
	case MKOLD_HOST_HUGE:
		return huge;
	case MKOLD_HOST_YOUNG:
		return pte_young(pte);
	case MKOLD_CLEAR_HOST_YOUNG:
		return clear_host_young(mm, at, ptep);
	case MKOLD_GENERATION_0:
	case MKOLD_GENERATION_1:
	case MKOLD_GENERATION_2:
		return generation(pte) >> (op - MKOLD_GENERATION_0) & 1;
	case MKOLD_BYTE:
		return byte_of(pte, page);
	}
	return false;
}

/* Notifier calls answer with an int or, in later versions, a bool: the low byte is both. */
static u8 answer(struct mm_struct *mm, unsigned int op, unsigned long at, unsigned long end,
		 u32 page)
{
	switch (op) {
	case MKOLD_CLEAR_YOUNG:
		return (u8)clear_young(mm, at, end);
	case MKOLD_CLEAR_FLUSH_YOUNG:
		return (u8)clear_flush_young(mm, at, end);
	case MKOLD_TEST_YOUNG:
		return (u8)test_young(mm, at);
	}
	return host_answer(mm, op, at, page);
}

static void answer_all(struct mm_struct *mm, const struct mkold_aging *request, u8 *bytes)
{
	u32 i;

	if (request->op == MKOLD_DRAIN)
		drain_all();
	mmap_read_lock(mm);
	for (i = 0; i < request->n; i += request->step) {
		unsigned long at = request->start + i * PAGE_SIZE;
		u32 n = min(request->step, request->n - i);

		bytes[i] = answer(mm, request->op, at, at + n * PAGE_SIZE, i);
	}
	mmap_read_unlock(mm);
	if (request->op == MKOLD_CLEAR_HOST_YOUNG || request->op == MKOLD_FLUSH_HOST)
		flush_host(mm);
	if (request->op == MKOLD_LIE)
		lie = 1;
	else if (lie && request->op <= MKOLD_TEST_YOUNG && request->n) {
		bytes[0] = !bytes[0];
		lie = 0;
	}
}

static long aging_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct mkold_aging request;
	long trouble = 0;
	u8 *bytes;

	if (command != MKOLD_AGE)
		return -ENOTTY;
	if (copy_from_user(&request, (void __user *)argument, sizeof(request)))
		return -EFAULT;
	if (request.n > MOST_PAGES || !request.step)
		return -EINVAL;
	bytes = kvzalloc(request.n + 1, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	answer_all(current->mm, &request, bytes);
	if (copy_to_user((void __user *)request.bytes, bytes, request.n))
		trouble = -EFAULT;
	kvfree(bytes);
	return trouble;
}

static const struct file_operations aging_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = aging_ioctl,
};

static struct miscdevice aging_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mkold-aging",
	.fops = &aging_fops,
	.mode = 0600,
};

/* The entry of a function that kprobes know. */
static void *entry_of(const char *name)
{
	struct kprobe probe = { .symbol_name = name };
	char text[KSYM_SYMBOL_LEN], *plus;
	unsigned long offset = 0;

	if (register_kprobe(&probe))
		return NULL;
	sprint_symbol(text, (unsigned long)probe.addr);
	unregister_kprobe(&probe);
	plus = strstr(text, "+0x");
	if (plus)
		sscanf(plus, "+0x%lx", &offset);
	return (void *)probe.addr - offset;
}

static int __init aging_init(void)
{
	lookup = entry_of("kallsyms_lookup_name");
	if (!lookup)
		return -ENOENT;
	clear_young = (void *)lookup("__mmu_notifier_clear_young");
	clear_flush_young = (void *)lookup("__mmu_notifier_clear_flush_young");
	test_young = (void *)lookup("__mmu_notifier_test_young");
	drain_all = (void *)lookup("lru_add_drain_all");
	if (!clear_young || !clear_flush_young || !test_young || !drain_all)
		return -ENOENT;
	return misc_register(&aging_device);
}

static void __exit aging_exit(void)
{
	misc_deregister(&aging_device);
}

module_init(aging_init);
module_exit(aging_exit);
