/* The agent: process 1 of the kernel under test, and a small VMM.
 *
 * One command a line comes in; each answer line begins with '@'. The last one of an answer is
 * "@." with words, or "@!" with a reason. What a kernel prints in between has no '@'.
 *
 * Guest memory: LOW bytes from 0 on hold the guest's program and its list of addresses; the
 * pages under test begin at BASE_GFN. A bitmap has page 0 as the lowest bit of the first digit.
 */
#ifndef MKOLD_AGENT_H
#define MKOLD_AGENT_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOW (1UL << 20)
#define CODE 0x1000UL
#define MAILBOX 0x2000UL
#define LIST 0x3000UL
#define SEEN 0x43000UL
#define BASE_GFN 4096UL
#define MAX_SLOTS 6

/* What the guest's program reads and writes, at MAILBOX. */
struct mailbox {
	volatile uint32_t loop;   /* go round without leaving the guest */
	volatile uint32_t count;  /* entries of the list: an address each, bit 0 set to store */
	volatile uint32_t rounds; /* times through the list */
};

/* What it read or wrote for each entry of the list, it leaves at SEEN. */

struct vm {
	uint8_t *low, *pages;
	size_t n_pages;
	int vm_fd, vcpu_fd;
	struct kvm_run *run;
};

extern FILE *out;
extern size_t page_size;
extern struct vm vm;
extern struct kvm_userspace_memory_region slots[MAX_SLOTS]; /* 0 is the program's */
extern size_t n_slots;

/* guest_*.c: the program, and a vCPU's first state; 0, or what failed. */
extern const char guest_start[], guest_end[];
extern const uint32_t guest_exit;
const char *guest_init(int kvm_fd, int vm_fd, int vcpu_fd);

/* Commands that only some guests have; -1: this one has none such. */
int guest_command(const char *name, const char *word, const char *more) __attribute__((weak));

/* vm.c */
int vm_create(size_t n_pages, int huge, const char *slots);
struct mailbox *vm_mailbox(void);
int vm_enter(void);
int vm_fill_list(int write, const char *pages, size_t first_name);
int vm_run(int write, const char *pages);

/* running.c */
void running_boot(void);
int vm_loop(int write, const char *pages);
int vm_halt(void);
int vm_settle(void);
int vm_fresh(void);

/* slots.c */
int vm_slots(const char *what, const char *pages);
int vm_has(size_t page);

/* dirty.c */
int vm_dirty_log(char what, const char *pages);
int vm_dirty_mode(unsigned options);

/* pages.c: "3-5,9" calls f for each page; the number of them, or -1. */
long each_page(const char *text, void (*f)(size_t page));
void put_bitmap(const uint8_t *bytes, size_t n);
uint64_t pagemap(size_t page);

/* host.c */
int host_touch(int write, const char *pages);
int host_advise(const char *name, const char *pages);
int host_look(void);
int host_age(const char *words);
int host_put(const char *path, const char *text);
int host_cat(const char *path);
int host_flush(void);
int age_bytes(unsigned op, unsigned first, unsigned n, unsigned step, uint8_t *bytes);
void host_boot(void);
int write_file(const char *path, const char *text);

/* huge.c */
void huge_boot(void);
int huge_step(const char *name, const char *pages);
int huge_look(void);

/* damon.c */
int damon_watch(int physical, const char *pages);
int damon_look(void);
int damon_check(void);
void damon_end(void);

/* lru.c */
int lru_pass(void);
int lru_look(void);
int lru_evict(const char *words);
void lru_new_group(void);
void lru_drain(void);

int done(void);
int failed(const char *what);

#endif
