/* What the agent asks of the module; both sides include this. */
/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MKOLD_AGING_H
#define MKOLD_AGING_H

#include <linux/ioctl.h>
#include <linux/types.h>

enum mkold_op {
	MKOLD_CLEAR_YOUNG,
	MKOLD_CLEAR_FLUSH_YOUNG,
	MKOLD_TEST_YOUNG,
	MKOLD_HOST_YOUNG,
	MKOLD_CLEAR_HOST_YOUNG,
	MKOLD_GENERATION_0, /* a bit each of the folio's generation number plus one */
	MKOLD_GENERATION_1,
	MKOLD_GENERATION_2,
	MKOLD_LIE, /* the next answer says the opposite of the first page asked for */
	MKOLD_FLUSH_HOST, /* the process's own translations are forgotten */
	MKOLD_HOST_HUGE, /* whether the process maps it by a PMD */
	MKOLD_DRAIN, /* every CPU's batch of the LRU is emptied */
	MKOLD_BYTE, /* the byte at MKOLD_OFFSET of the page, counted from start */
};

/* Where in a page guest and process touch it. */
#define MKOLD_OFFSET(page) (64 * ((page) % 60))

/* For each step pages from start on: a byte for its first page. */
struct mkold_aging {
	__u32 op, n, step, pad;
	__u64 start, bytes;
};

#define MKOLD_AGE _IOWR('a', 0x41, struct mkold_aging)

#endif
