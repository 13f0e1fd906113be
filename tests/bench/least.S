// The least that a library in front of an allocator can do to count exactly, for scripts/bench to hold ours against:
// one call on, the size where it stands in the block's header (ptmalloc) and else no size at all but a constant, two adds
// and one compare with words found through the thread. No allocator is chosen, nothing rare is handled, and all threads
// count in one place: it is for one.
//
// ALLOCATE, RELEASE: the allocator's own functions. HEADER: sizes are read. PREFIX: of the allocator's names, where it is
// our private one: what else a small C++ program calls of the family goes to it, too, and its own mapping to the system.
.macro known_size block
#ifdef HEADER
  testq \block, \block
  jz 1f
  movq -8(\block), %rsi
  testb $2, %sil
  jnz 1f
  andq $-8, %rsi
  subq $8, %rsi
#else
  movl $64, %esi
#endif
.endm
.macro count bytes
  movq shard_offset@gottpoff(%rip), %rcx
  leaq shards(%rip), %rdx
  addq %fs:(%rcx), %rdx
  addq %rsi, \bytes(%rdx)
  addq $1, \bytes + 16(%rdx)
  movq \bytes(%rdx), %rcx
  cmpq \bytes + 32(%rdx), %rcx
  jg 1f
.endm

  .text
  .globl malloc, free
  .type malloc, @function
  .type free, @function
  .p2align 6
malloc:
  subq $8, %rsp
  call *ALLOCATE@GOTPCREL(%rip)
  known_size %rax
  count 0
1:addq $8, %rsp
  ret
  .p2align 6
free:
  known_size %rdi
  count 8
1:jmp *RELEASE@GOTPCREL(%rip)

#ifdef PREFIX
#define JOINED_NOW(prefix, name) prefix##name
#define JOINED(prefix, name) JOINED_NOW(prefix, name)
.macro forward name, to
  .globl \name
  .type \name, @function
\name:
  jmp *\to@GOTPCREL(%rip)
.endm
  forward calloc, JOINED(PREFIX, calloc)
  forward realloc, JOINED(PREFIX, realloc)
  forward memalign, JOINED(PREFIX, memalign)
  forward aligned_alloc, JOINED(PREFIX, memalign)
  forward malloc_usable_size, JOINED(PREFIX, malloc_usable_size)
  forward JOINED(PREFIX, mmap), mmap
  forward JOINED(PREFIX, munmap), munmap
  forward JOINED(PREFIX, madvise), madvise
#endif

  .data
  .p2align 6
shards:
  .quad 0, 0, 0, 0, 0x7fffffffffffffff, 0x7fffffffffffffff, 0, 0
  .section .tbss, "awT", @nobits
  .p2align 6
shard_offset:
  .zero 8
  .section .note.GNU-stack, "", @progbits
