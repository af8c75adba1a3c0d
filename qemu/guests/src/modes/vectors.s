# Where the interrupt tables of the walk lead (see ../modes.rs); behind walk.s, whose names it uses.

# What comes of a vector: below 0x20 it is noted, and execution goes on where TRY said; above it is counted.
    .code16
modes_common_16:
    pushl %eax
    pushl %ebp
    movl $DATA, %ebp
    movzwl 8(%esp), %eax
    cmpl $0x20, %eax
    jae 1f
    movl %eax, VECTOR(%ebp)
    movl RESUME(%ebp), %eax
    movw %ax, 10(%esp)
    jmp 2f
1:  incl COUNT(%ebp)
    cmpl $0x20, %eax
    jne 2f
    outb %al, $0x20
2:  popl %ebp
    popl %eax
    addw $2, %sp
    iretw

    .balign 16
    .globl modes_stubs_16
modes_stubs_16:
    .set number, 0
    .rept 0x60
    .balign 16
    pushw $number
    jmp modes_common_16
    .set number, number + 1
    .endr

    .code32
modes_common_32:
    pushl %eax
    pushl %ebp
    movl $DATA, %ebp
    movl 8(%esp), %eax
    cmpl $0x20, %eax
    jae 1f
    movl %eax, VECTOR(%ebp)
    movl 12(%esp), %eax
    movl %eax, ERROR(%ebp)
    movl RESUME(%ebp), %eax
    movl %eax, 16(%esp)
    jmp 2f
1:  incl COUNT(%ebp)
    cmpl $0x20, %eax
    jne 2f
    outb %al, $0x20
2:  popl %ebp
    popl %eax
    addl $8, %esp
    iretl

    .balign 16
    .globl modes_stubs_32
modes_stubs_32:
    .set number, 0
    .rept 0x60
    .balign 16
    .if !(number == 8 || number == 10 || number == 11 || number == 12 || number == 13 || number == 14 || number == 17)
    pushl $0
    .endif
    pushl $number
    jmp modes_common_32
    .set number, number + 1
    .endr

    .code64
modes_common_64:
    pushq %rax
    pushq %rbp
    movl $DATA, %ebp
    movl 16(%rsp), %eax
    cmpl $0x20, %eax
    jae 1f
    movl %eax, VECTOR(%rbp)
    movl 24(%rsp), %eax
    movl %eax, ERROR(%rbp)
    movl RESUME(%rbp), %eax
    movq %rax, 32(%rsp)
    jmp 2f
1:  incl COUNT(%rbp)
    cmpl $0x20, %eax
    jne 2f
    outb %al, $0x20
2:  popq %rbp
    popq %rax
    addq $16, %rsp
    iretq

    .balign 16
    .globl modes_stubs_64
modes_stubs_64:
    .set number, 0
    .rept 0x60
    .balign 16
    .if !(number == 8 || number == 10 || number == 11 || number == 12 || number == 13 || number == 14 || number == 17)
    pushq $0
    .endif
    pushq $number
    jmp modes_common_64
    .set number, number + 1
    .endr
    .globl modes_end
modes_end:
