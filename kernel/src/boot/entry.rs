//! The first instructions: from the PVH entry (32-bit protected mode, paging off, EBX = `hvm_start_info`) to Rust in the high half.
//!
//! With the smallest page tables that work: the low 4 GiB in 2 MiB pages, seen at 0 (to survive the switch), at the direct map and,
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

    .section .data.boot, "aw"           // Entries: 3 is present, writable; 0x83 the same for a large page.
    .balign 4096
early_root:
    .quad early_low - {base} + 3
    .skip 255 * 8
    .quad early_low - {base} + 3 + (1 << 63)                // no-execute
    .skip 254 * 8
    .quad early_high - {base} + 3
early_low:
    .quad early_pages - {base} + 3, early_pages - {base} + 0x1003, early_pages - {base} + 0x2003, early_pages - {base} + 0x3003
    .skip 508 * 8
early_high:
    .skip 510 * 8
    .quad early_pages - {base} + 3, 0
early_pages:
    .set page, 0
    .rept 2048
    .quad page + 0x83
    .set page, page + 0x200000
    .endr
"#,
    base = const crate::memory::layout::KERNEL_BASE,
    stack = sym crate::cpu::stacks::STACKS,
    stack_size = const crate::cpu::stacks::KERNEL_STACK_TOP,
    start = sym super::start,
    options(att_syntax),
);
