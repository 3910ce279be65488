// Calls and DMA for target/hexagon/harness.c, written out so that their own packets are known.
//
// QEMU keeps three counters in c20 (packets), c21 (instructions) and c22 (HVX instructions) that
// assemblers have no names for, so that "rD = cN" stands as a word: 0x6a00c000 | N << 16 | D.

	.macro	counters a b c
	.word	0x6a14c000 | \a
	.word	0x6a15c000 | \b
	.word	0x6a16c000 | \c
	.endm

	.text

// dovetail_call(r0 function, r1 table, r2 first, r3 count, r4 counts): counts[i] of the call alone,
// plus a constant. Scalars and vectors are filled with rubbish first: nobody may rely on zeros.
	.p2align 4
	.globl	dovetail_call
dovetail_call:
	{ allocframe(#64) }
	{ memd(r29+#0) = r17:16; memd(r29+#8) = r19:18 }
	{ memd(r29+#16) = r21:20; memd(r29+#24) = r23:22 }
	{ memd(r29+#32) = r25:24; memd(r29+#40) = r27:26 }
	{ memw(r29+#48) = r4; r28 = r0 }
	{ r0 = r1; r1 = r2; r2 = r3 }
	{ r3 = ##0xa5a5a5a5 }
	.irp	n, 4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27
	r\n = r3
	.endr
	p3:0 = r3
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	v\n = vsplat(r3)
	.endr
	.irp	n, 0,1,2,3
	q\n = vand(v0,r3)
	.endr
	counters 3 4 5
	{ memw(r29+#52) = r3; memw(r29+#56) = r4 }
	{ memw(r29+#60) = r5 }
	{ callr r28 }
	counters 6 7 8
	{ r3 = memw(r29+#52); r4 = memw(r29+#56) }
	{ r5 = memw(r29+#60); r9 = memw(r29+#48) }
	{ r6 = sub(r6,r3); r7 = sub(r7,r4); r8 = sub(r8,r5) }
	{ memw(r9+#0) = r6; memw(r9+#4) = r7 }
	{ memw(r9+#8) = r8 }
	{ r17:16 = memd(r29+#0); r19:18 = memd(r29+#8) }
	{ r21:20 = memd(r29+#16); r23:22 = memd(r29+#24) }
	{ r25:24 = memd(r29+#32); r27:26 = memd(r29+#40) }
	{ dealloc_return }

// What dovetail_dma and dovetail_wait share: the work between enter and leave is measured into
// dovetail_hidden, and every register is kept but r31.
	.macro	enter
	{ allocframe(#120) }
	{ memd(r29+#0) = r1:0; memd(r29+#8) = r3:2 }
	counters 0 1 2
	{ memw(r29+#16) = r0; memw(r29+#20) = r1 }
	{ memw(r29+#24) = r2 }
	.endm

	.macro	leave
	{ r0 = memw(r29+#16); r1 = memw(r29+#20) }
	{ r2 = memw(r29+#24); r3 = ##dovetail_hidden }
	{ memw(r3+#0) -= r0 }
	{ memw(r3+#4) -= r1 }
	{ memw(r3+#8) -= r2 }
	{ memw(r3+#12) += #1 }
	counters 0 1 2
	{ memw(r3+#0) += r0 }
	{ memw(r3+#4) += r1 }
	{ memw(r3+#8) += r2 }
	{ r1:0 = memd(r29+#0); r3:2 = memd(r29+#8) }
	{ dealloc_return }
	.endm

// Calls a C function: every register that it may change is kept.
	.macro	through function
	{ memd(r29+#32) = r5:4; memd(r29+#40) = r7:6 }
	{ memd(r29+#48) = r9:8; memd(r29+#56) = r11:10 }
	{ memd(r29+#64) = r13:12; memd(r29+#72) = r15:14 }
	{ memw(r29+#80) = r28 }
	r1:0 = c1:0
	r3:2 = c3:2
	r4 = p3:0
	r5 = usr
	{ memd(r29+#88) = r1:0; memd(r29+#96) = r3:2 }
	{ memd(r29+#104) = r5:4 }
	r1:0 = c7:6
	{ memd(r29+#112) = r1:0 }
	{ r0 = r26; r1 = r27; r2 = r28 }
	{ call \function }
	{ r1:0 = memd(r29+#112) }
	c7:6 = r1:0
	{ r1:0 = memd(r29+#88); r3:2 = memd(r29+#96) }
	{ r5:4 = memd(r29+#104) }
	c1:0 = r1:0
	c3:2 = r3:2
	p3:0 = r4
	usr = r5
	{ r5:4 = memd(r29+#32); r7:6 = memd(r29+#40) }
	{ r9:8 = memd(r29+#48); r11:10 = memd(r29+#56) }
	{ r13:12 = memd(r29+#64); r15:14 = memd(r29+#72) }
	{ r28 = memw(r29+#80) }
	.endm

// dovetail_wait: the copies of this thread are done.
	.p2align 4
	.globl	dovetail_wait
dovetail_wait:
	enter
	through dovetail_finish
	leave

// dovetail_dma: r26 target, r27 source, r28 -> { rows, row bytes, target stride, source stride }.
	.p2align 4
	.globl	dovetail_dma
dovetail_dma:
	enter
	through dovetail_copy
	leave

	.p2align 4
	.globl	dovetail_probe_empty
dovetail_probe_empty:
	{ jumpr r31 }

	.p2align 4
	.globl	dovetail_probe_wait
dovetail_probe_wait:
	{ r2 = r31 }
	{ call dovetail_wait }
	{ jumpr r2 }

	.data
	.p2align 3
	.globl	dovetail_hidden
dovetail_hidden:
	.word	0, 0, 0, 0
