/** Bits of the filter, 1 MiB: of a million refused ones it counts 6 % too few. */
const BITS = 23;

/** Whom there was no room for, so that each is counted once: a filter of fixed size instead of their names. */
export class Refused {
  readonly #bits = new Uint32Array(1 << (BITS - 5));

  /** True for a name that was not there before, which a few new ones are mistaken to be. */
  add(name: string): boolean {
    // FNV-1a, its upper bits folded in.
    let hash = 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    hash = (hash ^ (hash >>> BITS)) & ((1 << BITS) - 1);
    const bit = 1 << (hash & 31);
    if ((this.#bits[hash >>> 5] & bit) !== 0) return false;
    this.#bits[hash >>> 5] |= bit;
    return true;
  }
}
