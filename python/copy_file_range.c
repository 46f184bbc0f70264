/* For programs linked against a glibc before 2.27, which has no copy_file_range. Rust's standard library asks for it weakly, but where
 * a crate names it strongly (nix does, in code that nobody calls) the linker wants one. The kernel's own, then: where it is missing,
 * too (before 4.5), the answer is ENOSYS, and everybody copies by hand. */
#include <sys/syscall.h>

long syscall(long number, ...);

long copy_file_range(int in, long long *in_at, int out, long long *out_at, unsigned long bytes, unsigned flags) {
    return syscall(__NR_copy_file_range, in, in_at, out, out_at, bytes, flags);
}
