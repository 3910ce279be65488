/* Runs the phases of an assembled listing under qemu-hexagon and counts their packets.
 *
 * Freestanding: Linux system calls only. dovetail_functions, the table of the phases' entry points, is
 * linked in with the listing; everything else comes from dovetail_image, as far as one is linked in,
 * then from standard input, and goes to standard output when all phases have run. target/hexagon/run.py writes the former and reads the latter:
 *
 *   in   struct header, struct place[places], struct view[views], u32 base[phases] (where in the table
 *        of addresses a phase's begins), struct chunk[phases][threads], bytes of every place that has some (one copy, even for a place per thread)
 *   out  struct counts[phases][threads], every output place (the copies of all threads in order)
 */
typedef unsigned u32;
typedef unsigned char u8;
typedef unsigned long long u64;

enum { OUTPUT = 1, PER_THREAD = 2, GIVEN = 4 };
enum { BACKWARDS = 1, LATE = 2 }; /* the last thread first; copies are done when they are awaited */
enum { VECTOR = 128, STARTED = 4096 };

struct header { u32 places, views, threads, phases, spill, fill, order; };
struct place { u32 size, flags; };
struct view { u32 place; int shift; };
struct chunk { u32 first, count; };
struct counts { u32 packets, instructions, hvx; };

extern const u32 dovetail_functions[];
extern u32 dovetail_hidden[4]; /* packets, instructions, HVX ones inside DMA stubs; number of stubs */
extern void dovetail_call(u32 function, const u32 *table, u32 first, u32 count, u32 *counts);
extern u8 dovetail_probe_empty[], dovetail_probe_wait[];

static long system_call(long number, long a, long b, long c, long d, long e, long f) {
    register long r6 __asm__("r6") = number;
    register long r0 __asm__("r0") = a;
    register long r1 __asm__("r1") = b;
    register long r2 __asm__("r2") = c;
    register long r3 __asm__("r3") = d;
    register long r4 __asm__("r4") = e;
    register long r5 __asm__("r5") = f;
    __asm__ volatile("trap0(#1)"
                     : "+r"(r0)
                     : "r"(r6), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5)
                     : "memory");
    return r0;
}

static _Noreturn void leave(int code) {
    for (;;) system_call(94, code, 0, 0, 0, 0, 0);
}

extern const u8 dovetail_image[] __attribute__((weak)), dovetail_image_end[] __attribute__((weak));
static u32 taken; /* bytes of the image */

static void input(void *target, u32 size) {
    u8 *at = target;
    for (u32 left = dovetail_image_end - dovetail_image; size && taken < left; size--)
        *at++ = dovetail_image[taken++];
    while (size) {
        long got = system_call(63, 0, (long)at, size, 0, 0, 0);
        if (got <= 0) leave(101);
        at += got, size -= got;
    }
}

static void output(const void *source, u32 size) {
    for (const u8 *at = source; size;) {
        long put = system_call(64, 1, (long)at, size, 0, 0, 0);
        if (put <= 0) leave(102);
        at += put, size -= put;
    }
}

/* Fresh memory filled with one byte: multiples of 128 with at least 128 bytes of slack behind. */
static u8 *memory(u32 size, u32 fill) {
    u32 room = (size + 2 * VECTOR + 4095) & ~4095u;
    long at = system_call(222, 0, room, 3, 0x22, -1, 0); /* mmap: read and write, private, anonymous */
    if ((u32)at > 0xfffff000u) leave(103);
    if (fill)
        for (u64 *word = (u64 *)at, *end = word + room / 8; word < end; word++)
            *word = fill * 0x0101010101010101ull;
    return (u8 *)at;
}

struct copy { u8 *target; const u8 *source; const u32 *record; u32 thread; };

static struct copy started[STARTED]; /* that are not done yet, the oldest first */
static u32 outstanding, thread, order;

static void move(u8 *target, const u8 *source, const u32 *record) {
    u32 rows = record[0], bytes = record[1], to = record[2], from = record[3];
    u32 odd = ((u32)target | (u32)source | bytes | to | from) & 7;
    for (u32 row = 0; row < rows; row++, target += to, source += from) {
        if (odd)
            for (u32 i = 0; i < bytes; i++) target[i] = source[i];
        else
            for (u32 i = 0; i < bytes / 8; i++) ((u64 *)target)[i] = ((const u64 *)source)[i];
    }
}

/* What dovetail_dma does; stubs.s wraps it so that no register changes. */
void dovetail_copy(u8 *target, const u8 *source, const u32 *record) {
    if (!(order & LATE)) {
        move(target, source, record);
        return;
    }
    if (outstanding == STARTED) leave(104);
    started[outstanding++] = (struct copy){target, source, record, thread};
}

/* What dovetail_wait does: the thread's copies that are not done yet. */
void dovetail_finish(void) {
    u32 kept = 0;
    for (u32 i = 0; i < outstanding; i++)
        if (started[i].thread == thread)
            move(started[i].target, started[i].source, started[i].record);
        else
            started[kept++] = started[i];
    outstanding = kept;
}

static struct counts overhead; /* of a call, without the function's own packets */
static struct counts stub;     /* of a DMA stub, outside the window that it measures itself */

static struct counts measured(u32 function, const u32 *table, struct chunk chunk) {
    u32 now[3];
    for (int i = 0; i < 4; i++) dovetail_hidden[i] = 0;
    dovetail_call(function, table, chunk.first, chunk.count, now);
    u32 calls = dovetail_hidden[3];
    return (struct counts){
        now[0] - dovetail_hidden[0] - overhead.packets - calls * stub.packets,
        now[1] - dovetail_hidden[1] - overhead.instructions - calls * stub.instructions,
        now[2] - dovetail_hidden[2] - overhead.hvx - calls * stub.hvx,
    };
}

static void calibrate(void) {
    struct chunk nothing = {0, 0};
    overhead = measured((u32)dovetail_probe_empty, 0, nothing);
    overhead.packets -= 1, overhead.instructions -= 1; /* jumpr */
    stub = measured((u32)dovetail_probe_wait, 0, nothing);
    stub.packets -= 3, stub.instructions -= 3; /* save r31, call, jumpr */
}

static void run(void) {
    struct header head;
    input(&head, sizeof head);
    struct place *place = (struct place *)memory(head.places * sizeof *place, 0);
    struct chunk *chunk = (struct chunk *)memory(head.phases * head.threads * sizeof *chunk, 0);
    struct counts *counts = (struct counts *)memory(head.phases * head.threads * sizeof *counts, 0);
    struct view *view = (struct view *)memory(head.views * sizeof *view, 0);
    u32 *base = (u32 *)memory(head.phases * sizeof *base, 0);
    u32 entries = head.places + 1 + head.views, *table = (u32 *)memory(head.threads * entries * 4, 0);
    input(place, head.places * sizeof *place);
    input(view, head.views * sizeof *view);
    input(base, head.phases * sizeof *base);
    input(chunk, head.phases * head.threads * sizeof *chunk);

    for (u32 p = 0; p < head.places; p++) {
        u32 given = place[p].flags & GIVEN, own = place[p].flags & PER_THREAD;
        for (u32 t = 0; t < head.threads; t++) {
            u8 *first = (u8 *)table[p], *at = t && !own ? first : memory(place[p].size, head.fill);
            table[t * entries + p] = (u32)at;
            if (given && !t) input(at, place[p].size);
            if (given && t && own)
                for (u32 i = 0; i < place[p].size; i++) at[i] = first[i];
        }
    }
    for (u32 t = 0; t < head.threads; t++) {
        u32 *own = table + t * entries;
        own[head.places] = (u32)memory(head.spill, head.fill);
        for (u32 v = 0; v < head.views; v++)
            own[head.places + 1 + v] = own[view[v].place] + view[v].shift;
    }

    order = head.order;
    for (u32 f = 0; f < head.phases; f++)
        for (u32 i = 0; i < head.threads; i++) {
            thread = order & BACKWARDS ? head.threads - 1 - i : i;
            u32 call = f * head.threads + thread;
            if (chunk[call].count)
                counts[call] = measured(dovetail_functions[f],
                                        table + thread * entries + base[f], chunk[call]);
        }

    output(counts, head.phases * head.threads * sizeof *counts);
    for (u32 p = 0; p < head.places; p++)
        for (u32 t = 0; t < (place[p].flags & PER_THREAD ? head.threads : 1); t++)
            if (place[p].flags & OUTPUT) output((u8 *)table[t * entries + p], place[p].size);
}

void _start(void) {
    calibrate();
    run();
    leave(0);
}
