/** Master and outstation pairs that one conversation may hold; the least recently heard of is forgotten beyond that. */
const MAX_ASSOCIATIONS = 64;
const NONE = -1;

/** What a master and an outstation have said to each other last (IEEE 1815-2012, 4.2.2: one request at a time). */
export class Association {
  addresses = NONE;
  used_at = 0;
  request_sequence = NONE;
  request_function = 0;
  request_operation = 0;
  request_time_ms = 0;
  /** Requests in a row that nobody answered. */
  unanswered = 0;
  /** Sequence of the last response fragment, solicited and not. */
  response_sequence = NONE;
  unsolicited_sequence = NONE;
  /** The SELECT that an OPERATE must repeat: its number, size and a hash of its objects. */
  select_sequence = NONE;
  select_size = 0;
  select_hash = 0;
  /** Bytes were lost: a SELECT may have been among them. */
  select_unknown = false;

  reset(addresses: number): void {
    this.addresses = addresses;
    this.unanswered = 0;
    this.forget();
    this.select_unknown = false;
  }

  /** After a gap nothing that was awaited can be relied on. */
  forget(): void {
    this.request_sequence = NONE;
    this.response_sequence = NONE;
    this.unsolicited_sequence = NONE;
    this.select_sequence = NONE;
    this.select_unknown = true;
  }
}

/** The associations of one conversation. */
export class Associations {
  private readonly known: Association[] = [];
  private clock = 0;

  of(master: number, outstation: number): Association {
    const addresses = master * 0x10000 + outstation;
    let oldest: Association | undefined;
    for (const association of this.known) {
      if (association.addresses === addresses) {
        association.used_at = ++this.clock;
        return association;
      }
      if (oldest === undefined || association.used_at < oldest.used_at) oldest = association;
    }
    let association = oldest;
    if (association === undefined || this.known.length < MAX_ASSOCIATIONS) {
      association = new Association();
      this.known.push(association);
    }
    association.reset(addresses);
    association.used_at = ++this.clock;
    return association;
  }

  forget(): void {
    for (const association of this.known) association.forget();
  }
}

/** FNV-1a: tells the objects of one command from those of another. */
export function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let i = start; i < end; i++) value = Math.imul(value ^ bytes[i], 0x01000193);
  return value;
}
