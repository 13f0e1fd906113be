// The least that a library in front of an allocator can do to count exactly, for scripts/bench to hold ours against:
// one call on, the size, two adds and one compare with words found through the thread. No allocator is chosen, nothing
// rare is handled, and all threads count in one place: it is for one.
//
// ALLOCATE, RELEASE: the allocator's own functions. HEADER: sizes are read from the blocks' headers. USABLE, PAGE_BITS:
// from a table by the block's page, filled by that function; a page that comes to hold another size class is not noticed,
// and its blocks are counted wrong. Neither (jemalloc counts by itself): a constant. PREFIX: of the allocator's names,
// where it is our private one: what else a small C++ program calls of the family goes to it, too, and its own mapping to
// the system.
.macro known_size block
#ifdef HEADER
  testq \block, \block
  jz 1f
  movq -8(\block), %rsi
  testb $2, %sil
  jnz 1f
  andq $-8, %rsi
  subq $8, %rsi
#elif defined(USABLE)
  leaq sizes(%rip), %rdx
  movq \block, %rcx
  shrq $PAGE_BITS, %rcx
  movzwl %cx, %ecx
  movzwl (%rdx,%rcx,2), %esi
  testl %esi, %esi
  jz 2f
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
#ifdef USABLE
2:movq %rax, (%rsp)
  movq %rax, %rdi
  call *USABLE@GOTPCREL(%rip)
  leaq sizes(%rip), %rdx
  movq (%rsp), %rcx
  shrq $PAGE_BITS, %rcx
  movzwl %cx, %ecx
  movw %ax, (%rdx,%rcx,2)
  movq (%rsp), %rax
  jmp 1b
#endif
  .p2align 6
free:
  known_size %rdi
  count 8
1:
2:jmp *RELEASE@GOTPCREL(%rip)

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
#ifdef USABLE
  .local sizes
  .comm sizes, 131072, 64  // for each of 65,536 pages; those that are so far apart share one
#endif
  .section .note.GNU-stack, "", @progbits
