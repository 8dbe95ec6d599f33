/* Switching between stacks: a few pushes, no system call, for the emulator's fibers. */
#pragma once

/* Saves the registers that calls keep, stores the stack pointer to *from and goes on where `to` was saved. */
extern "C" void fiber_switch(void **from, void *to);

#if defined(__x86_64__)
asm(R"(
.text
.globl fiber_switch
.hidden fiber_switch
.type fiber_switch,@function
fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fiber_switch,.-fiber_switch
)");
/* A stack that begins with entry when it is first switched to. top is aligned to 16 bytes. */
static void *fiber_prepare(char *top, void (*entry)()) {
  void **sp = (void **)top;
  *--sp = nullptr; /* where entry would return to: a function is entered 8 bytes off a multiple of 16 */
  *--sp = (void *)entry;
  for (int i = 0; i < 6; i++) *--sp = nullptr;
  return sp;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl fiber_switch
.hidden fiber_switch
.type fiber_switch,%function
fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size fiber_switch,.-fiber_switch
)");
static void *fiber_prepare(char *top, void (*entry)()) {
  void **sp = (void **)(top - 160);
  for (int i = 0; i < 20; i++) sp[i] = nullptr;
  sp[11] = (void *)entry; /* x30 */
  return sp;
}
#else
#error "the emulator switches stacks on x86-64 and arm64 only"
#endif
