/* Moving the C stack pointer.  The one file that knows processors.

   _PyStackless_SwitchStack() is assembler because no compiler can be told that the
   stack below its feet changes: file-scope asm, since upstream's makesetup takes no .S
   files.  Its frame holds the registers that the ABI has a callee preserve, no others;
   the target's frame looks the same, so that the unwind information holds on both sides
   of the switch.  There is no red zone to mind: the caller is no leaf function.  While
   the callbacks run, this frame is declared the end of the stack, because what is above
   it may not be there: restore() has yet to put it back, and a context that save()
   calls and that is resumed later may find another function's frames there.

   The C functions are reached through pointers, and the symbol is a global, hidden one:
   link-time optimisation sees no references in asm, and may compile the users of the
   symbol into another object.  A linker that looks for the symbol in an archive of such
   objects doesn't find it, therefore whoever uses it must also call
   _PyStackless_SwitchObstacle(), which is found.

   Shadow stacks (Intel's CET, Arm's GCS) hold a second copy of each return address and
   can't follow; where one is active, we refuse.  Landing pads for indirect branches
   are provided. */

#include "Stackless/cstack/cstack.h"

#if defined(__x86_64__) && defined(__LP64__)
#  define HAVE_SWITCH 1
#elif defined(__aarch64__) && defined(__LP64__)
#  define HAVE_SWITCH 1
#else
#  define HAVE_SWITCH 0
#endif

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define SYMBOL STRING(__USER_LABEL_PREFIX__) "_PyStackless_SwitchStack"

#ifdef __APPLE__
#  define BEGIN ".text\n" ".private_extern " SYMBOL "\n"
#  define END ""
#else
#  define BEGIN ".pushsection .text\n" ".hidden " SYMBOL "\n" \
                ".type " SYMBOL ", %function\n"
#  define END ".size " SYMBOL ", . - " SYMBOL "\n" ".popsection\n"
#endif

#if defined(__x86_64__) && HAVE_SWITCH

/* Offsets from the stack pointer:
     0 mxcsr   4 x87 control word   8 rbx   16 r12   24 r13   32 r14   40 r15
     48 rbp    56 return address */
#define SAVE(reg, offset) "movq %" reg ", " offset "(%rsp)\n" \
                          ".cfi_rel_offset %" reg ", " offset "\n"
#define LOAD(reg, offset) "movq " offset "(%rsp), %" reg "\n"

__asm__(
    BEGIN
    ".p2align 4\n"
    ".globl " SYMBOL "\n"
    SYMBOL ":\n"
    ".cfi_startproc\n"
    "endbr64\n"
    "subq $56, %rsp\n"
    ".cfi_adjust_cfa_offset 56\n"
    SAVE("rbx", "8")
    SAVE("r12", "16")
    SAVE("r13", "24")
    SAVE("r14", "32")
    SAVE("r15", "40")
    SAVE("rbp", "48")
    "stmxcsr (%rsp)\n"
    "fnstcw 4(%rsp)\n"
    "movq %rsi, %rbx\n"           // restore
    "movq %rdi, %rax\n"
    "movq %rdx, %rdi\n"
    "movq %rsp, %rsi\n"
    ".cfi_remember_state\n"
    ".cfi_undefined 16\n"         // return address: see above
    "call *%rax\n"                // save(arg, sp)
    "testq %rax, %rax\n"
    "jz 1f\n"
    "movq (%rax), %rsp\n"
    "movq %rax, %rdi\n"
    "call *%rbx\n"                // restore(target)
    "1:\n"
    ".cfi_restore_state\n"
    "ldmxcsr (%rsp)\n"
    "fldcw 4(%rsp)\n"
    LOAD("rbx", "8")
    LOAD("r12", "16")
    LOAD("r13", "24")
    LOAD("r14", "32")
    LOAD("r15", "40")
    LOAD("rbp", "48")
    "addq $56, %rsp\n"
    ".cfi_adjust_cfa_offset -56\n"
    "ret\n"
    ".cfi_endproc\n"
    END
);

static int
has_shadow_stack(void)
{
    unsigned long long pointer = 0;
    // Does nothing where there is none, also on processors that don't know of it.
    __asm__ volatile("rdsspq %0" : "+r"(pointer));
    return pointer != 0;
}

#elif defined(__aarch64__) && HAVE_SWITCH

/* Offsets from the stack pointer: 0 x29, x30   16 to 88 x19 to x28   96 to 152 d8 to d15
   160 fpcr */
#define SAVE(first, second, offset, offset2) \
    "stp " first ", " second ", [sp, #" offset "]\n" \
    ".cfi_rel_offset " first ", " offset "\n" \
    ".cfi_rel_offset " second ", " offset2 "\n"
#define LOAD(first, second, offset) "ldp " first ", " second ", [sp, #" offset "]\n"

__asm__(
    BEGIN
    ".p2align 4\n"
    ".globl " SYMBOL "\n"
    SYMBOL ":\n"
    ".cfi_startproc\n"
    "hint #34\n"                  // bti c
    "sub sp, sp, #176\n"
    ".cfi_adjust_cfa_offset 176\n"
    SAVE("x29", "x30", "0", "8")
    SAVE("x19", "x20", "16", "24")
    SAVE("x21", "x22", "32", "40")
    SAVE("x23", "x24", "48", "56")
    SAVE("x25", "x26", "64", "72")
    SAVE("x27", "x28", "80", "88")
    SAVE("d8", "d9", "96", "104")
    SAVE("d10", "d11", "112", "120")
    SAVE("d12", "d13", "128", "136")
    SAVE("d14", "d15", "144", "152")
    "mrs x9, fpcr\n"
    "str x9, [sp, #160]\n"
    "mov x29, sp\n"
    "mov x19, x1\n"               // restore
    "mov x8, x0\n"
    "mov x0, x2\n"
    "mov x1, sp\n"
    ".cfi_remember_state\n"
    ".cfi_undefined x30\n"        // return address: see above
    "blr x8\n"                    // save(arg, sp)
    "cbz x0, 1f\n"
    "ldr x29, [x0]\n"
    "mov sp, x29\n"
    "blr x19\n"                   // restore(target)
    "1:\n"
    ".cfi_restore_state\n"
    "ldr x9, [sp, #160]\n"
    "msr fpcr, x9\n"
    LOAD("x29", "x30", "0")
    LOAD("x19", "x20", "16")
    LOAD("x21", "x22", "32")
    LOAD("x23", "x24", "48")
    LOAD("x25", "x26", "64")
    LOAD("x27", "x28", "80")
    LOAD("d8", "d9", "96")
    LOAD("d10", "d11", "112")
    LOAD("d12", "d13", "128")
    LOAD("d14", "d15", "144")
    "add sp, sp, #176\n"
    ".cfi_adjust_cfa_offset -176\n"
    "ret\n"
    ".cfi_endproc\n"
    END
);

static int
has_shadow_stack(void)
{
    register unsigned long x16 __asm__("x16") = 1;
    // chkfeat x16: clears the bits of features that are enabled, otherwise does nothing.
    __asm__ volatile("hint #40" : "+r"(x16));
    return x16 == 0;
}

#endif

#if HAVE_SWITCH

const char *
_PyStackless_SwitchObstacle(void)
{
    return has_shadow_stack() ? "this thread has a shadow stack" : NULL;
}

#else

const char *
_PyStackless_SwitchObstacle(void)
{
    return "it is not implemented for this processor";
}

void *
_PyStackless_SwitchStack(void *(*save)(void *arg, char *sp),
                         void *(*restore)(void *target), void *arg)
{
    (void)restore;
    if (save(arg, __builtin_frame_address(0)) != NULL) {
        __builtin_trap();
    }
    return NULL;
}

#endif
