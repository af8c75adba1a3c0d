//! From the multiboot entry (32-bit protected mode, no paging; Multiboot 0.6.96, §3.2) to `guest_main` in long mode: the first 4 GiB are
//! mapped one to one by 2 MiB pages.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .multiboot, "a"
    .balign 4
multiboot_header:
    .long 0x1badb002                    // magic
    .long 0x00010003                    // page-aligned modules, memory map, address fields
    .long -(0x1badb002 + 0x00010003)    // checksum
    .long multiboot_header              // where this header is
    .long guest_start                   // where loading begins
    .long guest_data_end                // where the file's part ends
    .long guest_end                     // where zeroed memory ends
    .long guest_entry                   // entry

    .section .text.start, "ax"
    .code32
    .global guest_entry
guest_entry:
    cli
    cld
    mov esp, offset guest_stack_end
    mov [guest_information], ebx

    // Four page directories, each of 512 pages of 2 MiB.
    mov edi, offset guest_directories
    mov eax, 0x83                       // present, writable, large
    mov ecx, 2048
2:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b

    mov edi, offset guest_pointers
    mov eax, offset guest_directories + 3
    mov ecx, 4
3:  mov [edi], eax
    add eax, 0x1000
    add edi, 8
    dec ecx
    jnz 3b
    mov eax, offset guest_pointers + 3
    mov [guest_root], eax

    mov eax, offset guest_root
    mov cr3, eax
    mov eax, cr4
    or eax, 0x620                       // PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080                 // EFER
    rdmsr
    or eax, 0x100                       // LME
    wrmsr
    mov eax, cr0
    or eax, 0x80000001                  // PG, PE
    mov cr0, eax
    lgdt [guest_gdt_pointer]
    push 0x08
    mov eax, offset guest_long
    push eax
    retf

    .code64
guest_long:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, offset guest_stack_end
    xor ebp, ebp
    call guest_main
4:  hlt
    jmp 4b

    .section .rodata.start, "a"
    .balign 8
guest_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            // 0x08: code, 64 bits
    .quad 0x00cf92000000ffff            // 0x10: data
guest_gdt_pointer:
    .word 23
    .long guest_gdt

    .section .bss.start, "aw", @nobits
    .balign 4096
    .global guest_root
guest_root:
    .skip 4096
    .global guest_pointers
guest_pointers:
    .skip 4096
guest_directories:
    .skip 4 * 4096
guest_stack:
    .skip 65536
guest_stack_end:
    .global guest_information
guest_information:                      // the loader's
    .skip 4
"#
);
