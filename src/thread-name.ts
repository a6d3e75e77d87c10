import fs from 'node:fs';

/**
 * Names the thread that calls it for `top -H`, `ps -L` and the kernel's own tools; at most 15 bytes are kept. Where the system has no such
 * file, or does not let us write it, the thread keeps the name it has.
 */
export function nameThread(name: string): void {
  try {
    // proc(5): `thread-self` is whoever opens it, and a synchronous call is made by the thread itself.
    fs.writeFileSync('/proc/thread-self/comm', name.slice(0, 15));
  } catch {}
}
