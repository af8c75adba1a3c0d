# The code of the walk (see ../modes.rs). It runs at 0x8000, wherever it is linked: addresses are differences to modes_start.
# EBP holds the data in every mode.

    .section .text.modes, "ax"

    .set HERE, 0x8000
    .set DATA, 0xc000
    .set TOP, 0xe000

    .set MODE, 0
    .set TOGGLE_CR0, 4
    .set TOGGLE_CR4, 8
    .set TOGGLE_EFER, 12
    .set RESUME, 16
    .set VECTOR, 20
    .set ERROR, 24
    .set COUNT, 28
    .set ROOT_LONG, 32
    .set ROOT, 36
    .set CR4, 40
    .set WAY, 44
    .set BASE_CR0, 48
    .set BASE_CR4, 52
    .set BASE_EFER, 56
    .set CR4_LONG, 60
    .set SAVED_RSP, 64
    .set SAVED_GDT, 72
    .set SAVED_IDT, 88
    .set OWN_GDT, 104
    .set OWN_IDT_64, 120
    .set OWN_IDT_32, 136
    .set OWN_IDT_REAL, 152
    .set RESULTS, 256
    .set BYTES, 640

    .set EFER, 0xc0000080
    .set EFER_LME, 0x100
    .set ICR_HIGH, 0xfee00310

# A fault up to the next NOTE goes on there.
.macro TRY
    movl $0xff, VECTOR(%ebp)
    movl $(90f - modes_start + HERE), RESUME(%ebp)
.endm

# Notes the vector and EAX as result \n.
.macro NOTE n
90: movl VECTOR(%ebp), %ecx
    movl %ecx, (RESULTS + 8 * \n)(%ebp)
    movl %eax, (RESULTS + 8 * \n + 4)(%ebp)
    xorl %eax, %eax
.endm

# MOV between EAX and a control or debug register: 64-bit mode has other names for the same.
.macro FROM bits, register
    .if \bits == 64
    movq %\register, %rax
    .else
    movl %\register, %eax
    .endif
.endm
.macro TO bits, register
    .if \bits == 64
    movq %rax, %\register
    .else
    movl %eax, %\register
    .endif
.endm

# Notes the values that the mode came with, toggles bits, runs the battery, and puts the values back.
.macro BATTERY bits
    FROM \bits, cr0
    movl %eax, BASE_CR0(%ebp)
    FROM \bits, cr4
    movl %eax, BASE_CR4(%ebp)
    movl $EFER, %ecx
    rdmsr
    movl %eax, BASE_EFER(%ebp)

    xorl %eax, %eax
    TRY
    cmpl $0, TOGGLE_EFER(%ebp)
    je 90f
    movl $EFER, %ecx
    rdmsr
    xorl TOGGLE_EFER(%ebp), %eax
    wrmsr
    NOTE 0
    TRY
    cmpl $0, TOGGLE_CR4(%ebp)
    je 90f
    FROM \bits, cr4
    xorl TOGGLE_CR4(%ebp), %eax
    TO \bits, cr4
    NOTE 1
    TRY
    cmpl $0, TOGGLE_CR0(%ebp)
    je 90f
    FROM \bits, cr0
    xorl TOGGLE_CR0(%ebp), %eax
    TO \bits, cr0
    NOTE 2

    TRY
    xorl %ecx, %ecx
    cpuid
    movl %ebx, %eax
    NOTE 3
    TRY
    movl $1, %eax
    cpuid
    movl %ecx, %eax
    andl $(1 << 27), %eax
    NOTE 4
    TRY
    movl $EFER, %ecx
    rdmsr
    NOTE 5
    TRY
    movl $EFER, %ecx
    rdmsr
    wrmsr
    NOTE 6
    TRY
    movl $0x1b, %ecx
    rdmsr
    NOTE 7
    TRY
    movl $0x3ff, %edx
    movl $0x5a, %eax
    outb %al, %dx
    xorl %eax, %eax
    inb %dx, %al
    NOTE 8
    TRY
    movl $0x5100, %edx
    outl %eax, %dx
    inl %dx, %eax
    NOTE 9
    TRY
    movl $0x5100, %edx
    inw %dx, %ax
    outw %ax, %dx
    NOTE 10
    TRY
    movl $ICR_HIGH, %ebx
    movl $0x12345678, (%ebx)
    NOTE 11
    TRY
    movl $ICR_HIGH, %ebx
    movl (%ebx), %eax
    NOTE 12
    TRY
    movl $ICR_HIGH, %ebx
    addl $0x11111111, (%ebx)
    movl (%ebx), %eax
    NOTE 13

    # The timer, 20 ticks from now, ends HLT.
    TRY
    movl $0, COUNT(%ebp)
    movb $0x30, %al
    outb %al, $0x43
    movb $20, %al
    outb %al, $0x40
    xorl %eax, %eax
    outb %al, $0x40
91: sti
    hlt
    cli
    cmpl $0, COUNT(%ebp)
    je 91b
    movl COUNT(%ebp), %eax
    NOTE 14
    TRY
    movl $0, COUNT(%ebp)
    int $0x55
    movl COUNT(%ebp), %eax
    NOTE 15

    TRY
    FROM \bits, cr0
    TO \bits, cr0
    FROM \bits, cr0
    NOTE 16
    TRY
    FROM \bits, cr4
    TO \bits, cr4
    FROM \bits, cr4
    NOTE 17
    TRY
    FROM \bits, cr3
    TO \bits, cr3
    xorl %eax, %eax
    NOTE 18
    TRY
    movl $0x1234560, %eax
    TO \bits, cr2
    xorl %eax, %eax
    FROM \bits, cr2
    NOTE 19
    TRY
    .if \bits == 64
    movl $5, %eax
    movq %rax, %cr8
    xorl %eax, %eax
    movq %cr8, %rax
    xorl %ecx, %ecx
    movq %rcx, %cr8
    .endif
    NOTE 20
    TRY
    movl $0x400, %eax
    TO \bits, dr7
    FROM \bits, dr7
    NOTE 21
    TRY
    movl $0x7654, %eax
    TO \bits, dr3
    xorl %eax, %eax
    FROM \bits, dr3
    NOTE 22
    TRY
    invd
    wbinvd
    pause
    NOTE 23
    TRY
    smsw %eax
    andl $0xffff, %eax
    NOTE 24
    TRY
    FROM \bits, cr0
    xorl $8, %eax
    TO \bits, cr0
    clts
    FROM \bits, cr0
    NOTE 25
    TRY
    smsw %eax
    orl $2, %eax
    lmsw %ax
    smsw %eax
    andl $0xffff, %eax
    NOTE 26
    FROM \bits, cr0
    andl $~10, %eax
    movl TOGGLE_CR0(%ebp), %ebx
    xorl BASE_CR0(%ebp), %ebx
    andl $10, %ebx
    orl %ebx, %eax
    TO \bits, cr0
    xorl %eax, %eax
    TRY
    fninit
    NOTE 27
    TRY
    xorl %ecx, %ecx
    xgetbv
    NOTE 28
    TRY
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $1, %eax
    xsetbv
    NOTE 29
    TRY
    movl $0xdead, %eax
    vmmcall
    NOTE 30
    TRY
    cld
    movl $0x3ff, %edx
    leal BYTES(%ebp), %esi
    movl $3, %ecx
    .if \bits == 16
    .byte 0x67
    rep outsb
    .else
    rep outsb
    .endif
    leal -BYTES-DATA(%esi), %eax
    NOTE 31
    TRY
    movl $0x3ff, %edx
    leal (BYTES + 32)(%ebp), %edi
    movl $3, %ecx
    .if \bits == 16
    .byte 0x67
    rep insb
    .else
    rep insb
    .endif
    movl (BYTES + 32)(%ebp), %eax
    NOTE 32
    TRY
    movl $ICR_HIGH, %esi
    leal (BYTES + 48)(%ebp), %edi
    .if \bits == 16
    .byte 0x67
    movsl
    .else
    movsl
    .endif
    movl (BYTES + 48)(%ebp), %eax
    NOTE 33
    TRY
    ud2
    NOTE 34
    TRY
    xorl %edx, %edx
    divl %edx
    NOTE 35
    TRY
    .byte 0x0f, 0x01, 0xd8              # vmrun
    NOTE 36
    TRY
    .byte 0x0f, 0x01, 0xdc              # stgi
    NOTE 37
    TRY
    .byte 0x0f, 0xaa                    # rsm
    NOTE 38
    TRY
    invlpg (%ebp)
    NOTE 39
    TRY
    rdtsc
    xorl %eax, %eax
    NOTE 40
    TRY
    movl $0x10, %ecx
    rdmsr
    xorl %eax, %eax
    NOTE 41
    TRY
    movl $0x277, %ecx
    rdmsr
    wrmsr
    NOTE 42
    TRY
    movl $0xc0000100, %ecx
    movl $0x4321, %eax
    xorl %edx, %edx
    wrmsr
    rdmsr
    NOTE 43

    movl BASE_CR0(%ebp), %eax
    TO \bits, cr0
    movl BASE_CR4(%ebp), %eax
    TO \bits, cr4
    movl $EFER, %ecx
    rdmsr
    movl BASE_EFER(%ebp), %eax
    wrmsr
.endm

    .code64
    .globl modes_start
modes_start:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushfq
    cli
    movl $DATA, %ebp
    movq %rsp, SAVED_RSP(%rbp)
    sgdt SAVED_GDT(%rbp)
    sidt SAVED_IDT(%rbp)
    movq %cr3, %rax
    movl %eax, ROOT_LONG(%rbp)
    lgdt OWN_GDT(%rbp)
    lidt OWN_IDT_64(%rbp)
    movl $TOP, %esp
    cmpl $8, MODE(%rbp)
    je modes_long
    pushq $0x18
    pushq $(modes_down - modes_start + HERE)
    lretq

modes_long:
    BATTERY 64
modes_up_64:
    movl $DATA, %ebp
    lgdt SAVED_GDT(%rbp)
    lidt SAVED_IDT(%rbp)
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movq SAVED_RSP(%rbp), %rsp
    popfq
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .code32
modes_down:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    cmpl $6, MODE(%ebp)
    je modes_32
    cmpl $7, MODE(%ebp)
    je modes_to_16
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0                     # out of long mode
    lidt OWN_IDT_32(%ebp)
    cmpl $0, WAY(%ebp)
    jne 1f
    movl $EFER, %ecx
    rdmsr
    andl $~EFER_LME, %eax
    wrmsr
1:  movl CR4(%ebp), %eax
    movl %eax, %cr4
    cmpl $1, WAY(%ebp)
    jne 1f
    movl $EFER, %ecx
    rdmsr
    andl $~EFER_LME, %eax
    wrmsr
1:  movl MODE(%ebp), %eax
    cmpl $2, %eax
    je modes_32
    cmpl $1, %eax
    je modes_to_16
    cmpl $0, %eax
    je modes_to_real
    movl ROOT(%ebp), %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    movl MODE(%ebp), %eax
    cmpl $5, %eax
    jae modes_to_16
modes_32:
    BATTERY 32
    jmp modes_up_32

modes_to_16:
    ljmpl $0x20, $(modes_16 - modes_start + HERE)
modes_to_real:
    ljmpl $0x28, $(modes_small - modes_start + HERE)

    .code16
modes_small:
    movl $0x30, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    lidtl OWN_IDT_REAL(%ebp)
    movl %cr0, %eax
    andl $~1, %eax
    movl %eax, %cr0
    ljmpl $0, $(modes_real - modes_start + HERE)
modes_real:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
modes_16:
    BATTERY 16
    cmpl $0, MODE(%ebp)
    jne 1f
    lidtl OWN_IDT_32(%ebp)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
1:  ljmpl $0x18, $(modes_up_32 - modes_start + HERE)

    .code32
modes_up_32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl MODE(%ebp), %eax
    cmpl $6, %eax
    je 2f
    cmpl $7, %eax
    je 2f
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl CR4_LONG(%ebp), %eax
    movl %eax, %cr4
    movl ROOT_LONG(%ebp), %eax
    movl %eax, %cr3
    movl $EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    lidt OWN_IDT_64(%ebp)
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0                     # long mode again
2:  ljmpl $0x08, $(modes_up_64 - modes_start + HERE)
