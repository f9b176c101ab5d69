/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel that goes to sleep in an interrupt, with others allowed and without
 * ending it: for a processor, and for who looks at it, the same as one whose end
 * has been lost. QEMU starts it by the Multiboot header.
 */

#define APIC		0xfee00000
#define APIC_SPURIOUS	(APIC + 0x0f0)
#define APIC_ICR	(APIC + 0x300)
#define APIC_ON		0x1ff		/* spurious interrupts are 255 */
#define TO_SELF		0x44000		/* fixed, assert */
#define VECTOR		236
#define PIC1_MASK	0x21		/* whose timer runs */
#define PIC2_MASK	0xa1
#define CODE		8
#define GATE		0x8e00		/* 32 bits, present */

	.text
	.code32
	.align	4
	.long	0x1badb002, 0, -0x1badb002

	.globl	_start
_start:
	mov	$stack, %esp
	lgdt	gdtr
	ljmp	$CODE, $1f
1:	mov	$handler, %eax
	mov	%ax, gate
	shr	$16, %eax
	mov	%ax, gate + 6
	lidt	idtr
	mov	$0xff, %al
	out	%al, $PIC1_MASK
	out	%al, $PIC2_MASK
	movl	$APIC_ON, APIC_SPURIOUS
	movl	$TO_SELF | VECTOR, APIC_ICR
handler:
	sti
1:	hlt
	jmp	1b

	.data
	.align	8
gdt:	.quad	0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt
	.align	8
idt:	.fill	VECTOR, 8, 0
gate:	.word	0, CODE, GATE, 0
idtr:	.word	. - idt - 1
	.long	idt
	.align	16
	.fill	1024
stack:
