/* membudget/profile.h: the raw profile, as libmembudget.so writes it and `membudget profile` reads it.
 *
 * A header, then records, each a membudget_profile_record and its payload, padded to 8 bytes. The last is
 * MEMBUDGET_PROFILE_END: a file without it is not whole. All in the machine's byte order.
 *
 * A block of `bytes` is sampled with a probability p of its own; it stands for 1 / p blocks like it. So the sum of
 * `weight` (1 / p) is an unbiased estimate of the number of blocks, that of weight * bytes of their bytes, and
 * that of bytes^2 * weight * (weight - 1) of the latter's variance.
 */
#ifndef MEMBUDGET_PROFILE_H
#define MEMBUDGET_PROFILE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEMBUDGET_PROFILE_MAGIC UINT64_C(0x31464f525042474d) /* "MGBPROF1", little endian */
#define MEMBUDGET_PROFILE_SUFFIX ".membudget-profile"

#define MEMBUDGET_PROFILE_REQUEST 1u
#define MEMBUDGET_PROFILE_CROSSING 2u
#define MEMBUDGET_PROFILE_EXIT 3u

struct membudget_profile_header {
  uint64_t magic;
  uint32_t header_bytes;
  int32_t pid;
  uint32_t reason; /* MEMBUDGET_PROFILE_REQUEST and so on */
  uint32_t reserved;
  uint64_t time_ns;         /* CLOCK_REALTIME */
  int64_t mean_bytes;       /* between samples, now; it may have been another before */
  int64_t live_bytes;       /* exact */
  int64_t mapped_bytes;     /* exact */
  int64_t allocated_bytes;  /* exact, since the start of the process */
  int64_t allocated_before; /* of these, before the first sample could be taken */
  int64_t live_before;      /* live bytes then */
  uint64_t lost_blocks;     /* samples for which no room was left: estimates are too low by their weight */
  uint64_t lost_stacks;     /* samples whose stack could not be kept */
};

#define MEMBUDGET_PROFILE_STACK 1u    /* membudget_profile_stack, then its frames */
#define MEMBUDGET_PROFILE_BLOCKS 2u   /* membudget_profile_block, any number */
#define MEMBUDGET_PROFILE_LOCATION 3u /* membudget_profile_location, then file and function */
#define MEMBUDGET_PROFILE_MAPS 4u     /* text: the next part of /proc/PID/maps */
#define MEMBUDGET_PROFILE_COMMAND 5u  /* text: the process's arguments, blanks between */
#define MEMBUDGET_PROFILE_END 6u      /* nothing */

struct membudget_profile_record {
  uint32_t kind;
  uint32_t bytes; /* of the payload, without padding */
};

/* A frame: where the code goes on after its call, innermost first; or, with the highest bit set, the number of a
   location in a source file that an interpreter told. */
#define MEMBUDGET_PROFILE_IS_LOCATION (UINT64_C(1) << 63)

struct membudget_profile_stack {
  uint32_t id;
  uint32_t frames;
  double allocated_blocks; /* estimates, since the start */
  double allocated_bytes;
  double allocated_variance; /* of allocated_bytes */
};

#define MEMBUDGET_PROFILE_IS_MAPPED 1u /* memory that the program mapped by itself */

struct membudget_profile_block {
  uint32_t stack;
  uint32_t flags;
  uint64_t bytes; /* usable */
  double weight;
};

struct membudget_profile_location {
  uint32_t id; /* the frame without its highest bit */
  uint32_t line;
  uint32_t file_bytes;
  uint32_t function_bytes;
};

#ifdef __cplusplus
}
#endif

#endif
