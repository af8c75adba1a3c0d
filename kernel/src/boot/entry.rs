//! The first instructions: from the PVH entry (32-bit protected mode, paging off, EBX = `hvm_start_info`) to Rust in the high half.
//!
//! Builds the smallest page tables that work: the low 4 GiB in 2 MiB pages, seen at 0 (to survive the switch), at the direct map and,
//! its first GiB, where the kernel is linked. [`super::tables`] replaces them. The loader has zeroed `.bss`.
//! Xen's `docs/misc/pvh.pandoc`; AMD APM vol. 2 §14.6.1 (activating long mode).

use core::arch::global_asm;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                      // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start - {base}

    .section .boot.text, "ax"
    .code32
    .global pvh_start
pvh_start:
    cld
    movl $(early_pages - {base}), %edi  // 2048 large pages: present, writable
    movl $0x83, %eax
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 1b

    movl $(early_pages - {base} + 3), %eax
    movl $(early_low - {base}), %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x1000, %eax
    loop 2b

    movl $(early_pages - {base} + 3), early_high - {base} + 510 * 8
    movl $(early_low - {base} + 3), early_root - {base}
    movl $(early_low - {base} + 3), early_root - {base} + 256 * 8
    movl $0x80000000, early_root - {base} + 256 * 8 + 4     // no-execute
    movl $(early_high - {base} + 3), early_root - {base} + 511 * 8

    movl $(early_root - {base}), %eax
    movl %eax, %cr3
    movl $0x20, %eax                    // CR4.PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx              // EFER: LME, NXE
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010001, %eax              // CR0: PG, WP, PE
    movl %eax, %cr0
    lgdt early_gdt_pointer - {base}
    ljmpl $8, $(1f - {base})

    .code64
1:  movabsq $2f, %rax
    jmpq *%rax
2:  xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    leaq {stack} + {stack_size}(%rip), %rsp
    xorl %ebp, %ebp
    movl %ebx, %edi
    callq {start}
    ud2

    .section .rodata.boot, "a"
    .balign 8
early_gdt:
    .quad 0, 0x00209a0000000000         // 64-bit code
early_gdt_pointer:
    .word 15
    .long early_gdt - {base}

    .section .bss.boot, "aw", @nobits
    .balign 4096
early_root: .skip 4096
early_low:  .skip 4096
early_high: .skip 4096
early_pages: .skip 4096 * 4
"#,
    base = const super::KERNEL_BASE,
    stack = sym crate::x86::stacks::STACKS,
    stack_size = const crate::x86::stacks::KERNEL_STACK_TOP,
    start = sym super::start,
    options(att_syntax),
);
