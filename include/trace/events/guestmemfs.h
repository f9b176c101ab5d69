/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM guestmemfs

#if !defined(_TRACE_GUESTMEMFS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_GUESTMEMFS_H

#include <linux/guestmem_pool.h>
#include <linux/mm_types.h>
#include <linux/tracepoint.h>

TRACE_EVENT(guestmemfs_allocate,

	TP_PROTO(int nid, u64 want, u64 goal, const struct gmpool_range *range,
		 int err),

	TP_ARGS(nid, want, goal, range, err),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, want)
		__field(u64, goal)
		__field(u64, start)
		__field(u64, count)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->want = want;
		__entry->goal = goal;
		__entry->start = err ? 0 : range->start;
		__entry->count = err ? 0 : range->count;
		__entry->err = err;
	),

	TP_printk("node=%d want=%llu goal=%lld start=%llu count=%llu err=%d",
		  __entry->nid, __entry->want, (s64)__entry->goal,
		  __entry->start, __entry->count, __entry->err)
);

TRACE_EVENT(guestmemfs_free,

	TP_PROTO(int nid, const struct gmpool_range *range, bool used),

	TP_ARGS(nid, range, used),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, start)
		__field(u64, count)
		__field(bool, used)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->start = range->start;
		__entry->count = range->count;
		__entry->used = used;
	),

	TP_printk("node=%d start=%llu count=%llu used=%d", __entry->nid,
		  __entry->start, __entry->count, __entry->used)
);

TRACE_EVENT(guestmemfs_move,

	TP_PROTO(int nid, u64 ino, u64 file_block, u64 from, u64 to, int err),

	TP_ARGS(nid, ino, file_block, from, to, err),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, ino)
		__field(u64, file_block)
		__field(u64, from)
		__field(u64, to)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->ino = ino;
		__entry->file_block = file_block;
		__entry->from = from;
		__entry->to = to;
		__entry->err = err;
	),

	TP_printk("node=%d ino=%llu file_block=%llu from=%llu to=%llu err=%d",
		  __entry->nid, __entry->ino, __entry->file_block,
		  __entry->from, __entry->to, __entry->err)
);

DECLARE_EVENT_CLASS(guestmemfs_unit,

	TP_PROTO(int nid, u64 base, u64 size, int err),

	TP_ARGS(nid, base, size, err),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, base)
		__field(u64, size)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->base = base;
		__entry->size = size;
		__entry->err = err;
	),

	TP_printk("node=%d base=%#llx size=%#llx err=%d", __entry->nid,
		  __entry->base, __entry->size, __entry->err)
);

DEFINE_EVENT(guestmemfs_unit, guestmemfs_grow,

	TP_PROTO(int nid, u64 base, u64 size, int err),

	TP_ARGS(nid, base, size, err)
);

DEFINE_EVENT(guestmemfs_unit, guestmemfs_shrink,

	TP_PROTO(int nid, u64 base, u64 size, int err),

	TP_ARGS(nid, base, size, err)
);

TRACE_EVENT(guestmemfs_scrub,

	TP_PROTO(int nid, u64 block, bool background),

	TP_ARGS(nid, block, background),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, block)
		__field(bool, background)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->block = block;
		__entry->background = background;
	),

	TP_printk("node=%d block=%llu background=%d", __entry->nid,
		  __entry->block, __entry->background)
);

TRACE_EVENT(guestmemfs_fault,

	TP_PROTO(int nid, u64 ino, unsigned long address, unsigned int order,
		 vm_fault_t result),

	TP_ARGS(nid, ino, address, order, result),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, ino)
		__field(unsigned long, address)
		__field(unsigned int, order)
		__field(unsigned int, result)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->ino = ino;
		__entry->address = address;
		__entry->order = order;
		__entry->result = (__force unsigned int)result;
	),

	TP_printk("node=%d ino=%llu address=%#lx order=%u result=%#x",
		  __entry->nid, __entry->ino, __entry->address,
		  __entry->order, __entry->result)
);

DECLARE_EVENT_CLASS(guestmemfs_pin_class,

	TP_PROTO(int nid, u64 ino, u64 start, u64 len, bool write),

	TP_ARGS(nid, ino, start, len, write),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, ino)
		__field(u64, start)
		__field(u64, len)
		__field(bool, write)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->ino = ino;
		__entry->start = start;
		__entry->len = len;
		__entry->write = write;
	),

	TP_printk("node=%d ino=%llu start=%llu len=%llu write=%d",
		  __entry->nid, __entry->ino, __entry->start, __entry->len,
		  __entry->write)
);

DEFINE_EVENT(guestmemfs_pin_class, guestmemfs_pin,
	TP_PROTO(int nid, u64 ino, u64 start, u64 len, bool write),
	TP_ARGS(nid, ino, start, len, write)
);

DEFINE_EVENT(guestmemfs_pin_class, guestmemfs_unpin,
	TP_PROTO(int nid, u64 ino, u64 start, u64 len, bool write),
	TP_ARGS(nid, ino, start, len, write)
);

TRACE_EVENT(guestmemfs_freeze,

	TP_PROTO(int nid, u32 meta_blocks, u64 generation),

	TP_ARGS(nid, meta_blocks, generation),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u32, meta_blocks)
		__field(u64, generation)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->meta_blocks = meta_blocks;
		__entry->generation = generation;
	),

	TP_printk("node=%d meta_blocks=%u generation=%llu", __entry->nid,
		  __entry->meta_blocks, __entry->generation)
);

TRACE_EVENT(guestmemfs_preserve,

	TP_PROTO(int nid, u64 blocks),

	TP_ARGS(nid, blocks),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, blocks)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->blocks = blocks;
	),

	TP_printk("node=%d blocks=%llu", __entry->nid, __entry->blocks)
);

TRACE_EVENT(guestmemfs_retrieve,

	TP_PROTO(int nid, u64 generation, const char *release),

	TP_ARGS(nid, generation, release),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, generation)
		__string(release, release)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->generation = generation;
		__assign_str(release);
	),

	TP_printk("node=%d generation=%llu release=%s", __entry->nid,
		  __entry->generation, __get_str(release))
);

TRACE_EVENT(guestmemfs_poison,

	TP_PROTO(int nid, u64 block, unsigned long pfn),

	TP_ARGS(nid, block, pfn),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, block)
		__field(unsigned long, pfn)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->block = block;
		__entry->pfn = pfn;
	),

	TP_printk("node=%d block=%llu pfn=%#lx", __entry->nid, __entry->block,
		  __entry->pfn)
);

#endif /* _TRACE_GUESTMEMFS_H */

#include <trace/define_trace.h>
